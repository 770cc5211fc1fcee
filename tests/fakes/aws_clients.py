"""AWS's own Python clients, run in their own virtual environment as processes of their own.

They live in ``.venv-aws-clients``, because their requirements and the project's disagree; nothing
of theirs is ever imported here.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.commands import finished
from tests.support.tools import skip

ROOT = Path(__file__).parents[2]


def interpreter() -> Path:
    """The Python that can import boto3; without one the running test is skipped."""
    python = ROOT / ".venv-aws-clients" / "bin" / "python"
    if not python.exists():
        skip(f"{python.parents[1].name} is missing: run make {python.parents[1].name}/ready")
    return python


async def run(script: str, given: Mapping[str, Any], **environment: str) -> dict[str, Any]:
    """What ``script`` prints, as JSON; ``given`` is on its stdin, so no secret meets argv.

    It sees ``PATH``, an empty home and ``environment``, nothing else. A script that fails fails
    the test with its last line.
    """
    outcome = await finished(
        interpreter(), "-c", script,
        env={
            "PATH": os.environ.get("PATH", ""),
            "HOME": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
            **environment,
        },
        told=json.dumps(given),
    )  # fmt: skip
    assert outcome.status == 0, outcome.errors.strip().splitlines()[-1:]
    return outcome.document()
