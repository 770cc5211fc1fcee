"""A machine whose clock is off by an hour, against a service that verifies each request's date."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.clock import CorrectedClock, Skew, SystemClock
from rolesanywhere_sidecar.failures import AccessDenied
from rolesanywhere_sidecar.identities.identity import CertificateExpired
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles
from rolesanywhere_sidecar.renewal.broker import Broker
from rolesanywhere_sidecar.service.rolesanywhere import RolesAnywhere
from tests.fakes import faults
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority, Template
from tests.fakes.world import small_world
from tests.support.sidecars import eventually
from tests.support.workloads import Workload

AHEAD = [timedelta(hours=1), timedelta(hours=-1)]


class Off(SystemClock):
    """This machine, by a clock that is set wrong."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def root() -> Authority:
    return Authority.root(at=utc_now())


@pytest.fixture
async def aws(root: Authority) -> AsyncIterator[FakeAWS]:
    async with FakeAWS.start(small_world(root.certificate)) as started:
        yield started


@pytest.fixture
def workload(root: Authority, tmp_path: Path) -> Workload:
    return Workload.below(root, tmp_path)


@contextmanager
def running(broker: Broker) -> Iterator[None]:
    task = asyncio.create_task(broker.run())
    try:
        yield
    finally:
        task.cancel()


def a_client(aws: FakeAWS, workload: Workload, machine: Off, skew: Skew) -> RolesAnywhere:
    settings = Settings.from_env(workload.env(aws.rolesanywhere_url))
    return RolesAnywhere(settings, IdentityFiles.of(settings), now=machine.now, env={}, skew=skew)


@pytest.mark.parametrize("ahead", AHEAD, ids=["ahead", "behind"])
async def test_an_hour_costs_one_request_and_the_session_is_served(
    aws: FakeAWS, workload: Workload, ahead: timedelta
) -> None:
    skew, machine = Skew(), Off(ahead)
    client = a_client(aws, workload, machine, skew)
    broker = Broker(client, clock=CorrectedClock(machine, skew), draw=lambda: 0.0)
    with running(broker):

        async def served() -> bool:
            return broker.current() is not None

        await eventually(served)
    await client.close()
    assert [one.verdict for one in aws.requests] == ["AccessDeniedException", "ok"]
    assert skew.seconds == pytest.approx(ahead.total_seconds(), abs=2)
    held = broker.current()
    assert held is not None
    assert abs(held.expires - utc_now() - timedelta(hours=1)) < timedelta(minutes=1)
    assert abs(held.issued - utc_now()) < timedelta(minutes=1)


@pytest.mark.parametrize("ahead", AHEAD, ids=["ahead", "behind"])
async def test_once_the_time_is_known_each_session_costs_one_request(
    aws: FakeAWS, workload: Workload, ahead: timedelta
) -> None:
    client = a_client(aws, workload, Off(ahead), Skew())
    for _ in range(3):
        await client.create_session()
    await client.close()
    assert [one.verdict for one in aws.requests] == ["AccessDeniedException", "ok", "ok", "ok"]


async def test_a_certificate_of_this_minute_does_not_keep_a_late_clock_from_learning(
    aws: FakeAWS, root: Authority, tmp_path: Path
) -> None:
    fresh = root.leaf(at=utc_now(), template=Template(starts=timedelta()))
    workload = Workload.below(root, tmp_path)
    (tmp_path / "tls.crt").write_bytes(fresh.certificate_pem)
    (tmp_path / "tls.key").write_bytes(fresh.key_pem())
    client = a_client(aws, workload, Off(timedelta(hours=-1)), Skew())
    await client.create_session()
    await client.close()
    assert aws.requests[-1].verdict == "ok"


async def test_a_certificate_that_has_truly_expired_is_still_called_so(
    aws: FakeAWS, root: Authority, tmp_path: Path
) -> None:
    """Also where the service had to be asked to know; from then on it is not asked any more."""
    template = Template(starts=timedelta(hours=-3), lives=timedelta(hours=2))
    over = root.leaf(at=utc_now(), template=template)
    workload = Workload.below(root, tmp_path)
    (tmp_path / "tls.crt").write_bytes(over.certificate_pem)
    (tmp_path / "tls.key").write_bytes(over.key_pem())
    client = a_client(aws, workload, Off(timedelta()), Skew())
    for _ in range(3):
        with pytest.raises(CertificateExpired):
            await client.create_session()
    await client.close()
    assert len(aws.requests) == 1


async def test_a_refusal_that_has_nothing_to_do_with_the_time_is_not_asked_twice(
    aws: FakeAWS, workload: Workload
) -> None:
    client = a_client(aws, workload, Off(timedelta(minutes=4)), Skew())
    aws.faults.always(faults.refused())
    with pytest.raises(AccessDenied):
        await client.create_session()
    await client.close()
    assert len(aws.requests) == 1


async def test_a_refusal_that_the_right_time_does_not_heal_is_asked_no_third_time(
    aws: FakeAWS, workload: Workload
) -> None:
    client = a_client(aws, workload, Off(timedelta(hours=1)), Skew())
    aws.faults.always(faults.refused(message="Untrusted Signing Certificate"))
    with pytest.raises(AccessDenied, match="does not chain to the trust anchor"):
        await client.create_session()
    await client.close()
    assert len(aws.requests) == 2
