"""The rules that SDKs impose on a credential endpoint, where only the real ``serve`` can show them.

Those that are a matter of one answer alone are in tests/sidecar/test_endpoint_rules.py.
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.faults import Delay, server_error
from tests.fakes.pki import Authority
from tests.fakes.world import small_world
from tests.support import clients
from tests.support.ports import free_port
from tests.support.sidecars import RunningSidecar, a_sidecar, eventually
from tests.support.tools import build_or_skip
from tests.support.workloads import Workload

ROLES: Final = "/latest/meta-data/iam/security-credentials/"

# The SDK for Go v2 gives up on headers of a metadata service after this many seconds.
BUDGET_SECONDS: Final = 0.5


@dataclass
class Stage:
    """A workload, and the AWS that knows it."""

    aws: FakeAWS
    workload: Workload

    @property
    def env(self) -> dict[str, str]:
        return self.workload.env(self.aws.rolesanywhere_url)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    root = Authority.root(at=utc_now())
    async with FakeAWS.start(small_world(root.certificate)) as aws:
        yield Stage(aws, Workload.below(root, tmp_path))


@asynccontextmanager
async def serving(stage: Stage, **more: str) -> AsyncIterator[RunningSidecar]:
    async with a_sidecar(stage.workload.folder, stage.env | more) as sidecar:
        await sidecar.until_ready()
        yield sidecar


async def raw(port: int, request: str) -> str:
    """All that comes back on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.replace("\n", "\r\n").encode("latin-1"))
        return (await asyncio.wait_for(reader.read(), 10)).decode("latin-1")
    finally:
        writer.close()


def request(line: str, *headers: str, host: str = "127.0.0.1") -> str:
    return "\n".join([f"{line} HTTP/1.1", f"Host: {host}", *headers, "Connection: close", "\n"])


async def metadata_token(port: int) -> str:
    put = request("PUT /latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60")
    return (await raw(port, put)).rpartition("\r\n")[2]


async def test_rule_1_under_load_and_a_hanging_renewal_every_answer_is_within_its_budget(
    stage: Stage,
) -> None:
    async with serving(stage) as sidecar:
        stage.aws.faults.always(Delay(600))
        asked = len(stage.aws.requests)
        sidecar.process.send_signal(signal.SIGHUP)

        async def hanging() -> bool:
            return len(stage.aws.requests) > asked

        await eventually(hanging)
        took: list[float] = []

        async def caller() -> None:
            for _ in range(25):
                began = time.monotonic()
                status, _ = await sidecar.credentials(stage.workload.token)
                took.append(time.monotonic() - began)
                assert status == 200

        await asyncio.gather(*(caller() for _ in range(8)))
        assert len(stage.aws.sessions) == 1
    assert len(took) == 200
    assert max(took) < BUDGET_SECONDS


async def test_rule_5_awss_c_runtime_survives_a_metadata_service_without_credentials(
    stage: Stage, tmp_path: Path
) -> None:
    """It would abort the application's process on any status but 401."""
    command = build_or_skip(clients.COMMANDS["awscrt"])
    stage.aws.faults.always(server_error())
    port = free_port()
    env = clients.surroundings(stage.aws) | clients.metadata_service(port)
    (tmp_path / "awscrt").mkdir()
    async with (
        a_sidecar(tmp_path, stage.env | {"ROLESANYWHERE_PORT": str(port)}) as sidecar,
        clients.started(command, env, folder=tmp_path / "awscrt") as client,
    ):

        async def refusing() -> bool:
            return bool(stage.aws.requests)

        await eventually(refusing)
        before = await client.ask()
        token = await metadata_token(port)
        known = await raw(
            port, request(f"GET {ROLES}reports", f"X-aws-ec2-metadata-token: {token}")
        )
        stage.aws.faults.clear()
        await sidecar.until_ready()
        after = await client.ask()
    assert "IMDS_SOURCE_FAILURE" in before.error
    assert known.startswith("HTTP/1.1 401 ")
    assert known.endswith("\r\n\r\n")
    assert (after.error, after.key) == ("", stage.aws.sessions[0].access_key_id)


async def test_rule_10_the_token_file_has_no_newline_and_both_its_readers_agree(
    stage: Stage,
) -> None:
    async with serving(stage) as sidecar:
        content = (stage.workload.folder / "token").read_bytes()
        assert content.strip() == content
        assert len(content) == 43
        assert (await sidecar.credentials(content.decode()))[0] == 200


async def test_rule_11_the_port_is_open_before_there_are_credentials_and_says_so(
    stage: Stage,
) -> None:
    """An SDK that is early is told to try again, where a refused connection would cost seconds."""
    stage.aws.faults.always(Delay(30))
    async with a_sidecar(stage.workload.folder, stage.env) as sidecar:

        async def listening() -> bool:
            return (await sidecar.probe("/livez"))[0] == 200

        await eventually(listening)
        status, told = await sidecar.credentials(stage.workload.token)
        assert (status, told["code"]) == (503, "NotReady")
        token = await metadata_token(sidecar.port)
        roles = await raw(
            sidecar.port, request(f"GET {ROLES}", f"X-aws-ec2-metadata-token: {token}")
        )
        assert roles.startswith("HTTP/1.1 503 ")
        assert roles.endswith("\r\n\r\n")


# Every kind of answer but a good one, with its status.
ANSWERS: Final = [
    (request("GET /v1/credentials"), 401),
    (request("GET /v1/credentials", "Authorization: wrong"), 403),
    (request("GET /nowhere"), 404),
    (request(f"GET {ROLES}"), 401),
    (request("PUT /latest/api/token"), 400),
    (request("PUT /latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60"), 200),
    (request("OPTIONS /v1/credentials", "Access-Control-Request-Method: GET"), 405),
    (request("OPTIONS /v1/credentials", "Origin: https://evil.example"), 403),
    (request("GET /v1/credentials", "Origin: null"), 401),
    (request("GET /v1/credentials", host="evil.example"), 401),
    (request("GET http://127.0.0.1/v1/credentials"), 401),
    (request("GET /v1/credentials", "Content-Length: 3") + "abc", 401),
    (request("GET /v1/credentials", "X: a\n b"), 400),
    (request("GET /v1/credentials", f"X: {'a' * 9000}"), 400),
    (request(f"GET /{'a' * 9000}"), 400),
    ("NONSENSE\n\n", 400),
]


async def test_security_no_answer_may_be_kept_or_read_by_a_page_or_tells_of_its_maker(
    stage: Stage,
) -> None:
    async with serving(stage) as sidecar:
        for sent, status in ANSWERS:
            answer = await raw(sidecar.port, sent)
            head = answer.partition("\r\n\r\n")[0].lower().split("\r\n")
            assert head[0].startswith(f"http/1.1 {status} "), sent[:60]
            assert "cache-control: no-store" in head, sent[:60]
            assert [line for line in head if line.startswith("server:")] == [
                "server: rolesanywhere"
            ]
            assert not [
                line for line in head if line.startswith(("access-control-", "location:"))
            ], sent[:60]


async def test_security_a_good_answer_may_not_be_kept_either(stage: Stage) -> None:
    async with serving(stage) as sidecar:
        answer = await raw(
            sidecar.port,
            request("GET /v1/credentials", f"Authorization: {stage.workload.token}"),
        )
    head, _, body = answer.partition("\r\n\r\n")
    assert "cache-control: no-store" in head.lower()
    assert json.loads(body)["Code"] == "Success"


async def test_security_head_tells_everything_but_the_secret(stage: Stage) -> None:
    async with serving(stage) as sidecar:
        token = await metadata_token(sidecar.port)
        answer = await raw(
            sidecar.port,
            request(f"HEAD {ROLES}reports", f"X-aws-ec2-metadata-token: {token}"),
        )
    assert answer.startswith("HTTP/1.1 200 ")
    assert answer.endswith("\r\n\r\n")
