"""pylance: the AWS SDK for Rust (aws-config), with its default chain."""

import json
import tempfile
from pathlib import Path

import lance
from lance.file import LanceFileSession

from tests.clients import protocol


def make() -> protocol.Ask:
    """A session over the bucket; the SDK's cache is in it."""
    options = {"aws_endpoint": protocol.S3_URL, "allow_http": "true"}
    session = LanceFileSession(f"s3://{protocol.BUCKET}", storage_options=options)

    def ask() -> protocol.Caller:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / protocol.OBJECT
            session.download_file(protocol.OBJECT, str(copy))
            told: protocol.Caller = json.loads(copy.read_bytes())
        return told

    return ask


if __name__ == "__main__":
    protocol.run(f"pylance {lance.__version__}", make)
