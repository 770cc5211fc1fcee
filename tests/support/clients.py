"""Real AWS clients as processes that are asked who they are: ``tests/clients``, spoken to.

They are told of credentials by their SDKs' own variables alone, as a pod's containers are. Never
imports one: each lives in an environment of its own.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from tests.fakes.aws import FakeAWS
from tests.fakes.world import REGION
from tests.support import gotools, node
from tests.support.tools import ToolMissing

ROOT: Final = Path(__file__).parents[2]
CLIENTS: Final = ROOT / "tests" / "clients"

# Seconds for one answer: the longest that a client waits for a sidecar by itself is far less.
PATIENCE_SECONDS: Final = 60.0

# A proxy that nobody is at, for all but loopback: as the webhook leaves a container that has one.
PROXY: Final[Mapping[str, str]] = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}

Word = Literal["again", "anew"]
Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Said:
    """What a client found out: who it is, or why it does not know."""

    key: str = ""
    arn: str = ""
    error: str = ""


def python(name: str) -> Command:
    """A client in the environment of AWS's Python clients. Raises `ToolMissing`."""
    interpreter = ROOT / ".venv-aws-clients" / "bin" / "python"
    if not interpreter.exists():
        raise ToolMissing(".venv-aws-clients is missing: run make .venv-aws-clients/ready")
    return interpreter, "-m", f"tests.clients.{name}"


def javascript(name: str) -> Command:
    """A client in the environment of AWS's JavaScript SDKs. Raises `ToolMissing`."""
    return node.interpreter(), CLIENTS / "js" / f"{name}.js"


def go() -> Command:
    """AWS's SDK for Go, built in. Raises `ToolMissing`."""
    return (gotools.build_program(CLIENTS / "go-v2"),)


COMMANDS: Final[Mapping[str, Callable[[], Command]]] = {
    "boto3": lambda: python("boto3"),
    "awscli": lambda: python("awscli"),
    "awscrt": lambda: python("awscrt"),
    "pyarrow": lambda: python("pyarrow"),
    "pylance": lambda: python("pylance"),
    "obstore": lambda: python("obstore"),
    "minio": lambda: python("minio"),
    "js-v3": lambda: javascript("v3"),
    "js-v2": lambda: javascript("v2"),
    "go-v2": go,
}


@dataclass
class Client:
    """A started client; ``version`` is its own word."""

    process: asyncio.subprocess.Process
    version: str
    errors: Path = field(repr=False)

    async def ask(self, word: Word = "again") -> Said:
        """Who it is, by its SDK and a service that verifies signatures."""
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise ValueError("a client is spoken to through pipes")
        stdin.write(f"{word}\n".encode())
        line = await asyncio.wait_for(stdout.readline(), PATIENCE_SECONDS)
        if not line:
            status = await self.process.wait()
            return Said(error=f"ended with {status}: {self.errors.read_text()[-2000:]}")
        return Said(**json.loads(line))


@asynccontextmanager
async def started(
    command: Command, env: Mapping[str, str], *, folder: Path
) -> AsyncIterator[Client]:
    """``command`` with nothing but ``env``; killed in the end. Its stderr is kept in ``folder``."""
    errors = folder / "stderr"
    with errors.open("w") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=env,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    try:
        if process.stdout is None:
            raise ValueError("a client is spoken to through pipes")
        greeting = await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS)
        if not greeting:
            raise AssertionError(f"{command} did not start: {errors.read_text()[-2000:]}")
        yield Client(process, json.loads(greeting)["client"], errors)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def surroundings(aws: FakeAWS) -> dict[str, str]:
    """What every client is told: where the services are, and nothing of credentials."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": "/nonexistent",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "STS_URL": aws.sts_url,
        "S3_URL": aws.s3_url,
        **PROXY,
        **node.surroundings(),
    }


def container_credentials(port: int, token_file: Path) -> dict[str, str]:
    """The variables of the container endpoint; the metadata service is out of reach."""
    return {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token_file),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def metadata_service(port: int) -> dict[str, str]:
    """The variable of IMDS, and object_store's own for the same."""
    return {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{port}/",
        "AWS_METADATA_ENDPOINT": f"http://127.0.0.1:{port}",
    }
