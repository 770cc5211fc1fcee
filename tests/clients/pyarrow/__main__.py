"""pyarrow's S3FileSystem: the AWS SDK for C++, with its default chain."""

import json
from urllib.parse import urlsplit

import pyarrow
from pyarrow.fs import S3FileSystem

from tests.clients import protocol


def make() -> protocol.Ask:
    """A file system, made before anybody asks; its chain keeps what it got."""
    bucket = S3FileSystem(endpoint_override=urlsplit(protocol.S3_URL).netloc, scheme="http")

    def ask() -> protocol.Caller:
        with bucket.open_input_stream(f"{protocol.BUCKET}/{protocol.OBJECT}") as content:
            told: protocol.Caller = json.loads(content.read())
        return told

    return ask


if __name__ == "__main__":
    protocol.run(f"pyarrow {pyarrow.__version__}", make)
