"""``serve`` killed and started again: what its session file saves, and what it may not use."""

import re
import signal
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.faults import Reset, throttled
from tests.fakes.pki import Authority
from tests.fakes.world import ACCOUNT, ROLE_ARN, small_world
from tests.support.sidecars import RunningSidecar, a_sidecar, eventually, until_kept
from tests.support.workloads import Workload

OTHER_ROLE_ARN: Final = f"arn:aws:iam::{ACCOUNT}:role/invoices"


@dataclass
class Stage:
    aws: FakeAWS
    root: Authority
    workload: Workload

    @property
    def session_file(self) -> Path:
        return self.workload.folder / "session"

    @property
    def env(self) -> dict[str, str]:
        return {
            **self.workload.env(self.aws.rolesanywhere_url, ca_file=self.aws.ca_file),
            "ROLESANYWHERE_SESSION_FILE": str(self.session_file),
        }

    async def killed_after_its_first_session(self, **more: str) -> str:
        """The access key that a sidecar served, and kept, until SIGKILL."""
        async with a_sidecar(self.workload.folder, self.env | more) as sidecar:
            await sidecar.until_ready()
            served = await self.served_by(sidecar)
            await until_kept(self.session_file, served)
            await sidecar.terminated(signal.SIGKILL)
        return served

    async def served_by(self, sidecar: RunningSidecar) -> str:
        status, document = await sidecar.credentials(self.workload.token)
        assert status == 200
        return document["AccessKeyId"]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    root = Authority.root(at=utc_now())
    world = small_world(root.certificate, role_arns=(ROLE_ARN, OTHER_ROLE_ARN))
    async with FakeAWS.start(world, tls_folder=tmp_path) as aws:
        yield Stage(aws, root, Workload.below(root, tmp_path))


async def test_a_killed_sidecar_comes_back_with_the_session_it_had(stage: Stage) -> None:
    before = await stage.killed_after_its_first_session()
    assert stat.S_IMODE(stage.session_file.stat().st_mode) == 0o600
    async with a_sidecar(stage.workload.folder, stage.env) as sidecar:
        await sidecar.until_ready()
        assert await stage.served_by(sidecar) == before
        assert sidecar.events("session adopted")
        [issued] = stage.aws.sessions
        assert issued.secret_access_key not in sidecar.log
        assert issued.session_token not in sidecar.log
    assert len(stage.aws.requests) == 1


async def test_it_comes_back_with_aws_down_and_before_its_turn(stage: Stage) -> None:
    before = await stage.killed_after_its_first_session()
    stage.aws.faults.always(Reset())
    turn = f"{utc_now() + timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}"
    env = stage.env | {"ROLESANYWHERE_START_AFTER": turn}
    async with a_sidecar(stage.workload.folder, env) as sidecar:
        await sidecar.until_ready()
        assert await stage.served_by(sidecar) == before


async def test_the_session_of_another_certificate_is_not_adopted(stage: Stage) -> None:
    before = await stage.killed_after_its_first_session()
    rotated = Workload.below(stage.root, stage.workload.folder)
    async with a_sidecar(stage.workload.folder, stage.env) as sidecar:
        await sidecar.until_ready()
        assert await stage.served_by(sidecar) != before
    asked = stage.aws.requests[-1].request.get("authorization") or ""
    assert f"Credential={rotated.identity.certificate.serial_number}/" in asked


async def test_the_session_of_another_role_is_not_adopted(stage: Stage) -> None:
    before = await stage.killed_after_its_first_session()
    env = stage.env | {"ROLESANYWHERE_ROLE_ARN": OTHER_ROLE_ARN}
    async with a_sidecar(stage.workload.folder, env) as sidecar:
        await sidecar.until_ready()
        assert await stage.served_by(sidecar) != before
        assert not sidecar.events("session adopted")
    assert [issued.session.role.name for issued in stage.aws.sessions] == ["reports", "invoices"]


async def test_nor_is_one_of_another_duration(stage: Stage) -> None:
    before = await stage.killed_after_its_first_session()
    env = stage.env | {"ROLESANYWHERE_DURATION_SECONDS": "900"}
    async with a_sidecar(stage.workload.folder, env) as sidecar:
        await sidecar.until_ready()
        assert await stage.served_by(sidecar) != before


async def test_a_session_file_of_garbage_costs_one_session_and_is_replaced(stage: Stage) -> None:
    stage.session_file.write_bytes(b"\x00garbage")
    served = await stage.killed_after_its_first_session()
    async with a_sidecar(stage.workload.folder, stage.env) as sidecar:
        await sidecar.until_ready()
        assert await stage.served_by(sidecar) == served
    assert len(stage.aws.requests) == 1


async def test_a_session_file_that_cannot_be_written_is_a_warning_and_no_more(
    stage: Stage,
) -> None:
    env = stage.env | {"ROLESANYWHERE_SESSION_FILE": "/nonexistent/session"}
    async with a_sidecar(stage.workload.folder, env) as sidecar:
        await sidecar.until_ready()
        warning = await sidecar.logged("session not kept")
        assert warning["code"] == "SessionFileUnusable"
        assert len(sidecar.events("session not kept")) == 1


async def test_before_its_turn_it_asks_for_nothing_and_says_until_when(stage: Stage) -> None:
    turn = f"{utc_now() + timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}"
    env = stage.env | {"ROLESANYWHERE_START_AFTER": turn}
    async with a_sidecar(stage.workload.folder, env) as sidecar:

        async def waiting() -> bool:
            status, sentence = await sidecar.probe("/readyz")
            return status == 503 and f"waits for its turn at {turn}" in sentence

        await eventually(waiting)
        assert not stage.aws.requests
        assert (await sidecar.probe("/livez"))[0] == 200


async def test_when_its_turn_has_come_it_asks(stage: Stage) -> None:
    turn = (utc_now() + timedelta(seconds=4)).replace(microsecond=0)
    env = stage.env | {"ROLESANYWHERE_START_AFTER": f"{turn:%Y-%m-%dT%H:%M:%SZ}"}
    async with a_sidecar(stage.workload.folder, env) as sidecar:
        await sidecar.until_ready()
    [issued] = stage.aws.sessions
    assert issued.session.expires - timedelta(hours=1) >= turn


async def test_a_back_off_is_told_with_its_end(stage: Stage) -> None:
    stage.aws.faults.always(throttled(retry_after=100))
    async with a_sidecar(stage.workload.folder, stage.env) as sidecar:
        failed = await sidecar.logged("session renewal failed")
        end = datetime.fromisoformat(failed["time"]) + timedelta(seconds=failed["retry_in_seconds"])
        before = utc_now()
        _, sentence = await sidecar.probe("/readyz")
        after = utc_now()
    assert 100 <= failed["retry_in_seconds"] <= 104
    assert sentence.startswith("no credentials: Throttled:")
    told = re.search(r"next attempt in (\d+) s", sentence)
    assert told, sentence
    # Both are rounded, and the record is written a moment before the wait begins.
    apart = timedelta(seconds=2)
    assert end - after - apart <= timedelta(seconds=int(told[1])) <= end - before + apart


async def test_its_metrics_tell_what_has_happened(stage: Stage) -> None:
    async with a_sidecar(stage.workload.folder, stage.env) as sidecar:
        await sidecar.until_ready()
        status, text = await sidecar.probe("/metrics")
        assert status == 200
        read = {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if "le" not in sample.labels
        }
        [issued] = stage.aws.sessions
        assert issued.secret_access_key not in text
        assert issued.session_token not in text
    assert read["rolesanywhere_renewals_total"] == 1
    assert read["rolesanywhere_create_session_duration_seconds_count"] == 1
    ahead = read["rolesanywhere_credentials_expiry_timestamp_seconds"] - utc_now().timestamp()
    assert 3500 < ahead <= 3600
    assert read["rolesanywhere_certificate_expiry_timestamp_seconds"] > utc_now().timestamp()
