"""Outages that last for ten minutes, under a clock that a test owns.

`tests/integration/test_faults_of_aws.py` shows each fault to the real process, for seconds.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import pytest

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.failures import EndpointUnreachable
from rolesanywhere_sidecar.renewal.broker import Broker
from rolesanywhere_sidecar.service.sessions import Reply, read_reply
from tests.fakes import faults
from tests.fakes.faults import Answer
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN
from tests.support.clocks import FakeClock, settle

OUTAGE: Final = 600.0
STEP: Final = 5.0

# Seconds. Who is told to ask less may ask as seldom as this, and others once a minute.
LONGEST_BACKOFF: Final = {"Throttled": 300.0}

SETTINGS: Final = Settings.from_env(
    {
        "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
        "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
        "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
        "ROLESANYWHERE_CERTIFICATE": "tls.crt",
    }
)

# An outage, and the code by which it is told; none is a line that nobody answers.
OUTAGES: Final = (
    pytest.param(faults.server_error(500), "ServiceUnavailable", id="500"),
    pytest.param(faults.server_error(502, as_json=False), "ServiceUnavailable", id="502"),
    pytest.param(faults.server_error(503), "ServiceUnavailable", id="503"),
    pytest.param(faults.server_error(504, as_json=False), "ServiceUnavailable", id="504"),
    pytest.param(faults.throttled(), "Throttled", id="429"),
    pytest.param(faults.throttled(retry_after=30), "Throttled", id="429 with Retry-After"),
    pytest.param(faults.garbage(), "InvalidReply", id="not JSON"),
    pytest.param(None, "EndpointUnreachable", id="unreachable"),
)


class Service:
    """Answers with sessions of ``life`` seconds, except while it is ``down``."""

    def __init__(self, clock: FakeClock, *, life: float) -> None:
        self._clock = clock
        self._life = life
        self._outage: list[Answer | None] = []
        self.attempts = 0

    def goes_down(self, how: Answer | None) -> None:
        self._outage = [how]

    def comes_back(self) -> None:
        self._outage = []

    async def create_session(self) -> Credentials:
        self.attempts += 1
        now = self._clock.now()
        expiration = f"{now + timedelta(seconds=self._life):%Y-%m-%dT%H:%M:%SZ}"
        honest = faults.session(accessKeyId=f"ASIA{self.attempts:016}", expiration=expiration)
        answer = self._outage[0] if self._outage else honest
        if answer is None:
            raise EndpointUnreachable("127.0.0.1:1 cannot be reached: Connection refused")
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return read_reply(Reply(answer.status, headers, answer.body), SETTINGS, at=now)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@asynccontextmanager
async def a_broker(service: Service, clock: FakeClock) -> AsyncIterator[Broker]:
    """Running; its chance is the same each time."""
    broker = Broker(service, clock=clock, draw=random.Random(7).random)  # noqa: S311 - chance, no secret
    running = asyncio.create_task(broker.run())
    await settle()
    try:
        yield broker
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def passing(seconds: float, clock: FakeClock) -> AsyncIterator[None]:
    """A look every few seconds, while so many pass."""
    for _ in range(int(seconds / STEP)):
        yield
        await clock.advance(STEP)


async def heals(broker: Broker, clock: FakeClock, code: str) -> bool:
    """Whether all is well within the longest back-off after ``code``."""
    async for _ in passing(LONGEST_BACKOFF.get(code, 60.0) + 2 * STEP, clock):
        if broker.current() is not None and broker.last_problem is None:
            return True
    return False


@pytest.mark.parametrize(("outage", "code"), OUTAGES)
async def test_ten_minutes_without_aws_are_not_noticed_by_who_holds_an_hour(
    clock: FakeClock, outage: Answer | None, code: str
) -> None:
    service = Service(clock, life=3600)
    async with a_broker(service, clock) as broker:
        await clock.advance(10)
        held = broker.current()
        assert held is not None
        service.goes_down(outage)
        await clock.advance(2200)  # until it has aged, and renewals fail
        async for _ in passing(OUTAGE, clock):
            assert broker.current() == held
            assert broker.last_problem is not None
            assert broker.last_problem.code == code
        service.comes_back()
        assert await heals(broker, clock, code)
        assert broker.current() != held


@pytest.mark.parametrize(("outage", "code"), OUTAGES)
async def test_a_session_that_ends_within_the_outage_is_served_to_its_end_and_not_beyond(
    clock: FakeClock, outage: Answer | None, code: str
) -> None:
    service = Service(clock, life=900)
    async with a_broker(service, clock) as broker:
        await clock.advance(10)
        held = broker.current()
        assert held is not None
        service.goes_down(outage)
        await clock.advance(540)
        async for _ in passing(OUTAGE, clock):
            assert broker.current() == (held if clock.now() < held.expires else None)
            assert broker.last_problem is not None
            assert broker.last_problem.code == code
        assert broker.current() is None
        service.comes_back()
        assert await heals(broker, clock, code)


@pytest.mark.parametrize(("outage", "code"), OUTAGES)
async def test_a_start_into_an_outage_says_why_and_heals(
    clock: FakeClock, outage: Answer | None, code: str
) -> None:
    service = Service(clock, life=3600)
    service.goes_down(outage)
    async with a_broker(service, clock) as broker:
        await clock.advance(10)
        async for _ in passing(OUTAGE, clock):
            assert broker.current() is None
            assert broker.last_problem is not None
            assert broker.last_problem.code == code
        service.comes_back()
        assert await heals(broker, clock, code)


@pytest.mark.parametrize(("outage", "code"), OUTAGES)
async def test_an_outage_is_not_made_worse_by_asking(
    clock: FakeClock, outage: Answer | None, code: str
) -> None:
    service = Service(clock, life=3600)
    service.goes_down(outage)
    async with a_broker(service, clock) as broker:
        await clock.advance(OUTAGE)
        assert broker.last_problem is not None
        assert broker.last_problem.code == code
        # Neither a storm nor silence: a fleet asks together, and an app waits for one of these.
        assert 5 <= service.attempts <= 60
