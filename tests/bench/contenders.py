"""The two that are compared, each as somebody would run it: ours, and AWS's own helper.

Both get the same identity and the same pretended AWS over TLS. The helper has no flag for an
authority, so it does not verify that TLS; ours does.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from tests.bench.processes import started
from tests.fakes import aws_helper
from tests.fakes.aws import FakeAWS
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN
from tests.support.gotools import pinned_version
from tests.support.ports import free_port
from tests.support.workloads import Workload

PATIENCE_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.001

_IMDS_TTL: Final = "X-aws-ec2-metadata-token-ttl-seconds"
_IMDS_TOKEN: Final = "X-aws-ec2-metadata-token"


class NoAnswer(Exception):
    """A contender did not serve credentials; the text has its log."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What both meet: the pretended AWS, and a workload with an identity of its own."""

    aws: FakeAWS
    workload: Workload


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where credentials are served, and the headers that the server at a port wants to see."""

    name: str
    path: str
    headers: Callable[["Running"], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that serves credentials, and prints them when told to."""

    name: str
    endpoints: Sequence[Endpoint]
    program: Sequence[str | Path]
    env: Callable[[Stage], Mapping[str, str]]
    arguments: Callable[[Stage], Sequence[str]]
    # Seconds: a first session so short that this program must renew it while we wait.
    short_life: int

    def serve(self, stage: Stage, port: int) -> Sequence[str | Path]:
        return [*self.program, "serve", "--port", str(port), *self.arguments(stage)]

    def credential_process(self, stage: Stage) -> Sequence[str | Path]:
        return [*self.program, "credential-process", *self.arguments(stage)]


@dataclass(frozen=True, slots=True)
class Running:
    """A started ``serve``; ``since`` is when, by `time.perf_counter`."""

    contender: Contender
    stage: Stage
    pid: int
    port: int
    since: float
    log_file: Path
    token_file: Path
    client: aiohttp.ClientSession

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def answer(self, endpoint: Endpoint) -> str:
        """The access key id that is served now; empty when there is none, or nobody listens."""
        try:
            headers = await endpoint.headers(self)
            async with self.client.get(self.url(endpoint.path), headers=headers) as response:
                if response.status != 200:
                    return ""
                return str((await response.json(content_type=None))["AccessKeyId"])
        except (aiohttp.ClientError, OSError):
            return ""

    async def first_answer(self, endpoint: Endpoint) -> float:
        """Seconds from the start until credentials are served. Raises `NoAnswer`."""
        while not await self.answer(endpoint):
            if time.perf_counter() - self.since > PATIENCE_SECONDS:
                raise NoAnswer(
                    f"{self.contender.name} served nothing within {PATIENCE_SECONDS:g} s at"
                    f" {self.url(endpoint.path)}; its log: {self.log_file.read_text()}"
                )
            await asyncio.sleep(POLL_SECONDS)
        return time.perf_counter() - self.since


@asynccontextmanager
async def serving(contender: Contender, stage: Stage, *, core: int) -> AsyncIterator[Running]:
    """``contender`` on ``core``, started and perhaps not yet ready, until the block ends."""
    port = free_port()
    log_file, token_file = (stage.workload.folder / f"{port}.{kind}" for kind in ("log", "token"))
    env = {
        **contender.env(stage),
        "ROLESANYWHERE_TOKEN_FILE": str(token_file),
        "ROLESANYWHERE_PROBE_PORT": str(free_port()),
    }
    since = time.perf_counter()
    command = contender.serve(stage, port)
    with started(command, env, log_file=log_file, core=core) as process:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
            yield Running(contender, stage, process.pid, port, since, log_file, token_file, client)


async def _bearer(running: Running) -> Mapping[str, str]:
    kept = running.token_file
    return {"Authorization": kept.read_text() if kept.exists() else ""}


async def _session_token(running: Running) -> Mapping[str, str]:
    url = running.url("/latest/api/token")
    async with running.client.put(url, headers={_IMDS_TTL: "21600"}) as response:
        return {_IMDS_TOKEN: await response.text()}


IMDS: Final = Endpoint(
    "IMDSv2", "/latest/meta-data/iam/security-credentials/reports", _session_token
)
CONTAINER: Final = Endpoint("container credentials", "/v1/credentials", _bearer)


def ours() -> Contender:
    """The sidecar from this checkout, with the Python that runs this."""
    return Contender(
        name="rolesanywhere-sidecar",
        endpoints=(CONTAINER, IMDS),
        program=(sys.executable, "-m", "rolesanywhere_sidecar"),
        env=lambda stage: stage.workload.env(
            stage.aws.rolesanywhere_url, ca_file=stage.aws.ca_file
        ),
        arguments=lambda stage: (),
        short_life=12,
    )


def the_helper(binary: Path) -> Contender:
    """AWS's helper of the version that is pinned for tests.

    It renews within a request, once a session has less than ten minutes left.
    """
    return Contender(
        name=f"aws_signing_helper {pinned_version('aws-helper', aws_helper.PACKAGE)}",
        endpoints=(IMDS,),
        program=(binary,),
        env=lambda stage: aws_helper.ENVIRONMENT,
        arguments=lambda stage: (
            "--endpoint", stage.aws.rolesanywhere_url, "--no-verify-ssl",
            "--trust-anchor-arn", TRUST_ANCHOR_ARN, "--profile-arn", PROFILE_ARN,
            "--role-arn", ROLE_ARN,
            "--certificate", str(stage.workload.folder / "tls.crt"),
            "--private-key", str(stage.workload.folder / "tls.key"),
        ),
        short_life=590,
    )  # fmt: skip
