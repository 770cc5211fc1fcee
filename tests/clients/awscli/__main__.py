"""AWS CLI v1: a process for each question, so that all its clients are new ones."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.clients import protocol

AWS = Path(sys.executable).with_name("aws")


def make() -> protocol.Ask:
    """`aws` beside this interpreter."""
    return ask


def ask() -> protocol.Caller:
    whoami = f"s3://{protocol.BUCKET}/{protocol.OBJECT}"
    identity = json.loads(_aws("sts", "get-caller-identity", "--endpoint-url", protocol.STS_URL))
    told = json.loads(_aws("s3", "cp", whoami, "-", "--endpoint-url", protocol.S3_URL))
    return {"key": told["key"], "arn": identity["Arn"]}


def _aws(*arguments: str) -> str:
    done = subprocess.run(
        [AWS, *arguments], env=os.environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


if __name__ == "__main__":
    protocol.run(f"awscli {version('awscli')}", make)
