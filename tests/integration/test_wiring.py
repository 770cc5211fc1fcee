"""What serve joins together, seen from outside: a part that is left out is missed here."""

import asyncio
import json
import os
import pty
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import LEAF, Authority, Template
from tests.fakes.servers import Clock
from tests.fakes.world import small_world
from tests.support.sidecars import RunningSidecar, a_sidecar, until_kept
from tests.support.workloads import Workload

TTL: Final = "X-aws-ec2-metadata-token-ttl-seconds"
ROLES: Final = "/latest/meta-data/iam/security-credentials/"

# ip(7); the socket module does not name it. What has fewer hops left is not delivered.
IP_MINTTL: Final = 21

EVENTS: Final = ["serving", "identity loaded", "session created", "stopping", "stopped"]


@asynccontextmanager
async def staged(
    folder: Path,
    env: Mapping[str, str] | None = None,
    *,
    clock: Clock = utc_now,
    template: Template = LEAF,
) -> AsyncIterator[tuple[FakeAWS, Workload, dict[str, str]]]:
    """An AWS by ``clock``, a workload that it trusts, and what ``serve`` is to be told."""
    root = Authority.root(at=utc_now())
    workload = Workload.below(root, folder, template=template)
    async with FakeAWS.start(small_world(root.certificate), clock=clock) as aws:
        yield aws, workload, {**workload.env(aws.rolesanywhere_url), **(env or {})}


@asynccontextmanager
async def served(
    folder: Path,
    env: Mapping[str, str] | None = None,
    *,
    clock: Clock = utc_now,
    template: Template = LEAF,
) -> AsyncIterator[tuple[RunningSidecar, FakeAWS]]:
    async with (
        staged(folder, env, clock=clock, template=template) as (aws, _, told),
        a_sidecar(folder, told) as sidecar,
    ):
        await sidecar.until_ready()
        yield sidecar, aws


async def metric(sidecar: RunningSidecar, name: str) -> float:
    """The one sample of that name."""
    _, text = await sidecar.probe("/metrics")
    [found] = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]
    return found


async def test_without_imds_its_paths_are_not_there_and_the_container_endpoint_is(
    tmp_path: Path,
) -> None:
    token_file = tmp_path / "the-token"
    env = {"ROLESANYWHERE_IMDS": "false", "ROLESANYWHERE_TOKEN_FILE": str(token_file)}
    async with served(tmp_path, env) as (sidecar, aws):
        for path in ("/latest/api/token", ROLES, "/latest/meta-data/placement/region"):
            status, _ = await sidecar.get(f"http://127.0.0.1:{sidecar.port}{path}")
            assert status == 404
        status, document = await sidecar.credentials(token_file.read_text())
        assert (status, document["AccessKeyId"]) == (200, aws.sessions[0].access_key_id)


async def test_requests_and_sessions_are_counted(tmp_path: Path) -> None:
    token_file = tmp_path / "the-token"
    async with served(tmp_path, {"ROLESANYWHERE_TOKEN_FILE": str(token_file)}) as (sidecar, _):
        _, before = await sidecar.probe("/metrics")
        for _ in range(3):
            await sidecar.credentials(token_file.read_text())
        _, after = await sidecar.probe("/metrics")

    def requests(metrics: str) -> float:
        return sum(
            float(line.split()[-1])
            for line in metrics.splitlines()
            if line.startswith("rolesanywhere_") and "requests_total" in line
            and "create_session" not in line
        )  # fmt: skip

    assert requests(after) - requests(before) >= 3


async def test_a_debug_log_with_a_kept_token_and_session_shows_no_secret(tmp_path: Path) -> None:
    token_file = tmp_path / "the-token"
    env = {
        "ROLESANYWHERE_TOKEN_FILE": str(token_file),
        "ROLESANYWHERE_SESSION_FILE": str(tmp_path / "kept"),
        "ROLESANYWHERE_LOG_LEVEL": "debug",
    }
    async with served(tmp_path, env) as (sidecar, aws):
        token = token_file.read_text()
        assert (await sidecar.credentials(token))[0] == 200
        await until_kept(tmp_path / "kept", aws.sessions[0].access_key_id)
        kept = json.loads((tmp_path / "kept").read_text())["credentials"]
        for secret in (token, kept["secret_access_key"], kept["session_token"]):
            assert secret not in sidecar.log


async def test_a_debug_log_of_a_restart_with_a_kept_session_shows_no_secret(
    tmp_path: Path,
) -> None:
    env = {
        "ROLESANYWHERE_SESSION_FILE": str(tmp_path / "kept"),
        "ROLESANYWHERE_LOG_LEVEL": "debug",
    }
    async with staged(tmp_path, env) as (aws, workload, told):
        async with a_sidecar(tmp_path, told) as before:
            await before.until_ready()
            await until_kept(tmp_path / "kept", aws.sessions[0].access_key_id)
            await before.terminated(signal.SIGKILL)
        async with a_sidecar(tmp_path, told) as sidecar:
            await sidecar.until_ready()
            assert (await sidecar.credentials(workload.token))[0] == 200
            await sidecar.terminated()
            assert sidecar.events("session adopted")
            [issued] = aws.sessions
            for secret in (*workload.secrets(), issued.secret_access_key, issued.session_token):
                assert secret not in sidecar.log


@pytest.mark.parametrize("hops", [1, 7])
async def test_answers_travel_as_far_as_the_hop_limit_and_no_farther(
    tmp_path: Path, hops: int
) -> None:
    async with served(tmp_path, {"ROLESANYWHERE_HOP_LIMIT": str(hops)}) as (sidecar, _):
        assert await asyncio.to_thread(answers, sidecar.port, hops)
        assert not await asyncio.to_thread(answers, sidecar.port, hops + 1, within=2)
        # Nor does it touch the kubelet's port.
        assert await asyncio.to_thread(answers, sidecar.probe_port, hops + 1)


def answers(port: int, hops_left: int, within: float = 20) -> bool:
    """Whether anything comes back that has at least so many hops left."""
    with socket.socket() as client:
        client.settimeout(within)
        client.setsockopt(socket.IPPROTO_IP, IP_MINTTL, hops_left)
        try:
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return client.recv(8) == b"HTTP/1.1"
        except TimeoutError:
            return False


@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(hours=-1)], ids=str)
async def test_how_far_the_clock_is_off_is_measured(tmp_path: Path, off: timedelta) -> None:
    async with served(tmp_path, clock=lambda: utc_now() + off) as (sidecar, _):
        ahead = await metric(sidecar, "rolesanywhere_clock_skew_seconds")
        assert ahead == pytest.approx(-off.total_seconds(), abs=5)
        [warning] = sidecar.events("clock skewed")
        assert warning["skew_seconds"] == ahead


async def test_a_clock_that_is_right_is_measured_too(tmp_path: Path) -> None:
    async with served(tmp_path) as (sidecar, _):
        assert await metric(sidecar, "rolesanywhere_clock_skew_seconds") == 0


@pytest.mark.parametrize(("lives", "soon"), [(timedelta(hours=9), 1), (timedelta(days=7), 0)])
async def test_a_certificate_in_its_last_day_is_warned_of_and_measured(
    tmp_path: Path, lives: timedelta, soon: int
) -> None:
    async with served(tmp_path, template=Template(lives=lives)) as (sidecar, _):
        assert await metric(sidecar, "rolesanywhere_certificate_expires_soon") == soon
        warnings = sidecar.events("identity questionable")
        assert ["in 7 h 59 min" in warning["problem"] for warning in warnings] == [True] * soon
        ends = await metric(sidecar, "rolesanywhere_certificate_expiry_timestamp_seconds")
        assert ends == pytest.approx((utc_now() + lives).timestamp() - 3600, abs=60)


async def test_at_a_terminal_it_says_once_what_to_export_and_logs_as_ever(tmp_path: Path) -> None:
    async with staged(tmp_path, {"ROLESANYWHERE_TOKEN_FILE": "my token"}) as (_, workload, told):
        written, sidecar = await on_a_terminal(tmp_path, told)
    address = f"http://127.0.0.1:{sidecar.port}"
    records, plain = told_apart(written)
    assert [line for line in plain if line.startswith("  export ")] == [
        f"  export AWS_CONTAINER_CREDENTIALS_FULL_URI={address}/v1/credentials",
        f"  export AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE='{tmp_path / 'my token'}'",
        f"  export AWS_EC2_METADATA_SERVICE_ENDPOINT={address}/",
    ]
    assert [record["event"] for record in records] == EVENTS
    assert (tmp_path / "my token").read_text() not in written
    assert workload.identity.key_pem().decode().splitlines()[1] not in written


async def test_elsewhere_there_is_nothing_but_the_log(tmp_path: Path) -> None:
    async with served(tmp_path) as (sidecar, _):
        await sidecar.terminated()
        records, plain = told_apart(sidecar.log)
    assert plain == []
    assert [record["event"] for record in records] == EVENTS


async def on_a_terminal(folder: Path, env: Mapping[str, str]) -> tuple[str, RunningSidecar]:
    """All that a ``serve`` writes to its terminal from its start to its end."""
    ours, its = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        try:
            async with a_sidecar(folder, env, terminal=its) as sidecar:
                await sidecar.until_ready()
                assert await sidecar.terminated() == 0
        finally:
            os.close(its)
        written = b""
        with suppress(OSError):  # EIO: the end, once nobody has the other side open
            while piece := screen.read(4096):
                written += piece
    return written.decode(), sidecar


def told_apart(written: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The log's records, and the lines that are none."""
    lines = [line for line in written.splitlines() if line]
    return (
        [json.loads(line) for line in lines if line.startswith("{")],
        [line for line in lines if not line.startswith("{")],
    )


@pytest.mark.parametrize(
    ("env", "address"), [({}, "127.0.0.1"), ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "::")]
)
async def test_probes_are_for_this_machine_alone_outside_a_pod(
    tmp_path: Path, env: dict[str, str], address: str
) -> None:
    async with served(tmp_path, env) as (sidecar, _):
        assert address_listened_on(sidecar.probe_port) == address
        assert address_listened_on(sidecar.port) == "127.0.0.1"


def address_listened_on(port: int) -> str:
    """From the kernel's own tables (proc(5), net/tcp): 0A is a socket that listens."""
    for table, name in (("tcp", "127.0.0.1"), ("tcp6", "::")):
        for line in Path(f"/proc/{os.getpid()}/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                loopback = local.startswith("0100007F") or not int(local.partition(":")[0], 16)
                assert loopback
                return name
    return ""
