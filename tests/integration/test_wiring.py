"""What serve joins together, seen from outside: a part that is left out is missed here."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority
from tests.fakes.world import small_world
from tests.support.sidecars import RunningSidecar, a_sidecar
from tests.support.workloads import Workload

TTL: Final = "X-aws-ec2-metadata-token-ttl-seconds"
ROLES: Final = "/latest/meta-data/iam/security-credentials/"


@asynccontextmanager
async def served(folder: Path, **env: str) -> AsyncIterator[tuple[RunningSidecar, FakeAWS]]:
    root = Authority.root(at=utc_now())
    workload = Workload.below(root, folder)
    async with FakeAWS.start(small_world(root.certificate)) as aws:
        told = workload.env(aws.rolesanywhere_url) | env
        async with a_sidecar(folder, told) as sidecar:
            await sidecar.until_ready()
            yield sidecar, aws


async def test_without_imds_its_paths_are_not_there_and_the_container_endpoint_is(
    tmp_path: Path,
) -> None:
    token_file = tmp_path / "the-token"
    env = {"ROLESANYWHERE_IMDS": "false", "ROLESANYWHERE_TOKEN_FILE": str(token_file)}
    async with served(tmp_path, **env) as (sidecar, aws):
        for path in ("/latest/api/token", ROLES, "/latest/meta-data/placement/region"):
            status, _ = await sidecar.get(f"http://127.0.0.1:{sidecar.port}{path}")
            assert status == 404
        status, document = await sidecar.credentials(token_file.read_text())
        assert (status, document["AccessKeyId"]) == (200, aws.sessions[0].access_key_id)


async def test_requests_and_sessions_are_counted(tmp_path: Path) -> None:
    token_file = tmp_path / "the-token"
    async with served(tmp_path, ROLESANYWHERE_TOKEN_FILE=str(token_file)) as (sidecar, _):
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
    async with served(tmp_path, **env) as (sidecar, aws):
        token = token_file.read_text()
        assert (await sidecar.credentials(token))[0] == 200
        kept = json.loads((tmp_path / "kept").read_text())["credentials"]
        assert kept["access_key_id"] == aws.sessions[0].access_key_id
        for secret in (token, kept["secret_access_key"], kept["session_token"]):
            assert secret not in sidecar.log


@pytest.mark.parametrize(
    ("env", "address"), [({}, "127.0.0.1"), ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "::")]
)
async def test_probes_are_for_this_machine_alone_outside_a_pod(
    tmp_path: Path, env: dict[str, str], address: str
) -> None:
    async with served(tmp_path, **env) as (sidecar, _):
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
