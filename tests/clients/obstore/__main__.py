"""obstore: Rust's object_store, as in delta-rs and polars, with a chain of its own."""

import json

import obstore
from obstore.store import S3Store

from tests.clients import protocol


def make() -> protocol.Ask:
    """A store that reads its SDK's variables."""
    store = S3Store(protocol.BUCKET, endpoint=protocol.S3_URL, client_options={"allow_http": True})

    def ask() -> protocol.Caller:
        told: protocol.Caller = json.loads(bytes(store.get(protocol.OBJECT).bytes()))
        return told

    return ask


if __name__ == "__main__":
    protocol.run(f"obstore {obstore.__version__}", make)
