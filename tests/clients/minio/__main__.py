"""minio-py with its IamAwsProvider, which knows container credentials by their variables.

Of ``AWS_EC2_METADATA_SERVICE_ENDPOINT`` it has not heard: there its program must say where.
"""

import json
import os
from urllib.parse import urlsplit

import minio
from minio.credentials import IamAwsProvider

from tests.clients import protocol


def make() -> protocol.Ask:
    """A client with a provider of its own."""
    metadata = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
    client = minio.Minio(
        urlsplit(protocol.S3_URL).netloc,
        secure=False,
        region=protocol.REGION,
        credentials=IamAwsProvider(custom_endpoint=metadata and metadata.rstrip("/")),
    )

    def ask() -> protocol.Caller:
        answer = client.get_object(protocol.BUCKET, protocol.OBJECT)
        try:
            told: protocol.Caller = json.loads(answer.read())
        finally:
            answer.close()
            answer.release_conn()
        return told

    return ask


if __name__ == "__main__":
    protocol.run(f"minio {minio.__version__}", make)
