"""boto3, with its default chain."""

import boto3

from tests.clients import protocol


def make() -> protocol.Ask:
    """A session's credentials refresh by themselves, as long as the session lives."""
    session = boto3.Session()

    def ask() -> protocol.Caller:
        arn = session.client("sts", endpoint_url=protocol.STS_URL).get_caller_identity()["Arn"]
        return {"key": session.get_credentials().get_frozen_credentials().access_key, "arn": arn}

    return ask


if __name__ == "__main__":
    protocol.run(f"boto3 {boto3.__version__}", make)
