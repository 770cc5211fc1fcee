"""The broker under a clock of our own: what it serves, when it asks, and what it never does."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.credentials import Credentials, Standing
from rolesanywhere_sidecar.failures import Throttled
from rolesanywhere_sidecar.renewal import pacing
from rolesanywhere_sidecar.renewal.broker import LONGEST_PAUSE, Broker
from tests.support.clocks import FakeClock, settle
from tests.support.sessions import SECRET_ACCESS_KEY, ScriptedSource, some_credentials
from tests.support.sidecars import eventually

HALF_LIFE = 1800.0

Start = Callable[[], Awaitable[None]]


class Denied(RolesAnywhereError):
    code = "AccessDenied"


class Busy(RolesAnywhereError):
    code = "Throttled"
    retryable = True

    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__("too fast", hint="slow down")
        self.retry_after = retry_after


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def source(clock: FakeClock) -> ScriptedSource:
    return ScriptedSource(clock.now)


@pytest.fixture
def draws() -> list[float]:
    """The next random numbers; zero when there are none left."""
    return []


@pytest.fixture
def broker(source: ScriptedSource, clock: FakeClock, draws: list[float]) -> Broker:
    return Broker(source, clock=clock, draw=lambda: draws.pop(0) if draws else 0.0)


@pytest.fixture
async def start(broker: Broker) -> AsyncIterator[Start]:
    """Lets the broker run, until it waits for the first time."""
    running: list[asyncio.Task[None]] = []

    async def started() -> None:
        running.append(asyncio.create_task(broker.run()))
        await settle()

    yield started
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def a_running(broker: Broker) -> AsyncIterator[Broker]:
    """``broker``, until it waits for the first time; ended with the block."""
    task = asyncio.create_task(broker.run())
    await settle()
    yield broker
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def key_served_by(broker: Broker) -> str | None:
    held = broker.current()
    return held.access_key_id if held else None


async def test_nothing_is_served_before_the_first_session(
    broker: Broker, source: ScriptedSource, start: Start
) -> None:
    source.gate.clear()
    await start()
    assert broker.current() is None


async def test_the_first_session_is_asked_for_at_once(
    broker: Broker, source: ScriptedSource, start: Start
) -> None:
    await start()
    assert key_served_by(broker) == "ASIAEXAMPLE000000001"
    assert source.attempts == 1


async def test_a_hundred_callers_cost_one_session(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    await start()
    source.gate.clear()
    await clock.advance(HALF_LIFE)
    assert [key_served_by(broker) for _ in range(100)] == ["ASIAEXAMPLE000000001"] * 100
    source.gate.set()
    await settle()
    assert [key_served_by(broker) for _ in range(100)] == ["ASIAEXAMPLE000000002"] * 100
    assert source.attempts == 2


async def test_a_fresh_session_leaves_aws_alone(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    await start()
    await clock.advance(HALF_LIFE - 1)
    assert broker.standing is Standing.FRESH
    assert source.attempts == 1


async def test_half_of_a_life_later_the_session_is_renewed(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    await start()
    await clock.advance(HALF_LIFE + 1)
    assert key_served_by(broker) == "ASIAEXAMPLE000000002"


async def test_renewals_are_spread_by_chance(
    broker: Broker, source: ScriptedSource, clock: FakeClock, draws: list[float], start: Start
) -> None:
    draws.extend([0.0, 0.9])  # the first is the start's
    await start()
    await clock.advance(HALF_LIFE + 0.89 * 300)
    assert source.attempts == 1
    await clock.advance(0.02 * 300)
    assert source.attempts == 2


async def test_a_failed_renewal_keeps_serving_what_is_still_valid(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    await start()
    source.failure = Busy()
    await clock.advance(3599)
    assert source.attempts > 10
    assert key_served_by(broker) == "ASIAEXAMPLE000000001"
    assert broker.standing is Standing.AGEING


async def test_nothing_expired_is_ever_served(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    await start()
    source.failure = Busy()
    for _ in range(80):
        held = broker.current()
        assert held is None or held.expires > clock.now()
        await clock.advance(60)
    assert broker.current() is None


async def test_an_outage_heals_by_itself(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    source.failure = Busy()
    await start()
    await clock.advance(7200)
    source.failure = None
    await clock.advance(pacing.PASSING.longest + 1)
    assert broker.current() is not None
    assert broker.last_problem is None


async def test_the_latest_problem_is_known_in_a_sentence(
    broker: Broker, source: ScriptedSource, start: Start
) -> None:
    source.failure = Denied("the role does not trust this", hint="fix its trust policy")
    await start()
    assert broker.last_problem is not None
    assert broker.last_problem.code == "AccessDenied"
    assert broker.last_problem.sentence == "the role does not trust this; fix its trust policy"


async def test_what_waits_for_somebody_to_act_is_asked_seldom(
    broker: Broker, source: ScriptedSource, clock: FakeClock, draws: list[float], start: Start
) -> None:
    source.failure = Denied("no")
    draws.extend([0.99] * 100)
    await start()
    await clock.advance(3600)
    assert 10 < source.attempts < 20


async def test_retry_after_is_waited_out(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    source.failure = Busy(retry_after=120)
    await start()
    await clock.advance(120)
    assert source.attempts == 1
    await clock.advance(2)
    assert source.attempts == 2


async def test_there_is_never_more_than_one_attempt(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    source.gate.clear()
    await start()
    for _ in range(10):
        broker.renew_soon()
        await clock.advance(1)
    assert source.most_running == 1


async def test_an_attempt_that_hangs_is_given_up(source: ScriptedSource, clock: FakeClock) -> None:
    source.gate.clear()
    hanging = Broker(source, clock=clock, draw=lambda: 0.0, deadline=0.05)  # which is real
    async with a_running(hanging) as broker:

        async def given_up() -> bool:
            return broker.last_problem is not None

        await eventually(given_up)
        assert broker.last_problem is not None
        assert broker.last_problem.code == "SessionTimedOut"
        assert source.running == 0


async def test_an_attempt_has_half_a_minute_unless_somebody_says_otherwise(
    source: ScriptedSource, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, passed = asyncio.get_running_loop(), [0.0]
    honest = loop.time
    monkeypatch.setattr(loop, "time", lambda: honest() + passed[0])
    source.gate.clear()
    async with a_running(Broker(source, clock=clock, draw=lambda: 0.0)) as broker:
        passed[0] = 28
        await settle()
        assert broker.last_problem is None
        passed[0] = 31

        async def given_up() -> bool:
            return broker.last_problem is not None

        await eventually(given_up)
        assert broker.last_problem is not None
        assert broker.last_problem.code == "SessionTimedOut"


async def test_a_session_is_served_before_it_is_kept(
    source: ScriptedSource, clock: FakeClock
) -> None:
    """However long that takes: a deadline for asking AWS is none for writing a file."""
    kept, written = [], asyncio.Event()

    async def keep(credentials: Credentials) -> None:
        kept.append(credentials)
        await written.wait()

    broker = Broker(source, clock=clock, draw=lambda: 0.0, deadline=0.02, keep=keep)
    async with a_running(broker):
        await asyncio.sleep(0.05)
        assert kept == [broker.current()]
        assert key_served_by(broker) == "ASIAEXAMPLE000000001"
        assert broker.last_problem is None
        written.set()
        await settle()
        await clock.advance(HALF_LIFE)
        assert source.attempts == 2


async def test_a_rotation_renews_within_its_spread_though_nothing_aged(
    broker: Broker, source: ScriptedSource, clock: FakeClock, draws: list[float], start: Start
) -> None:
    await start()
    await clock.advance(60)
    draws.append(0.5)
    broker.renew_soon()
    await clock.advance(0.5 * pacing.ROTATION_SPREAD - 0.1)
    assert source.attempts == 1
    await clock.advance(0.2)
    assert key_served_by(broker) == "ASIAEXAMPLE000000002"


async def test_a_rotation_is_tried_at_once_when_renewals_fail(
    broker: Broker, source: ScriptedSource, clock: FakeClock, draws: list[float], start: Start
) -> None:
    source.failure = Denied("the certificate has expired")
    await start()
    source.failure = None
    draws.append(0.9)
    broker.renew_soon()
    await settle()
    assert broker.current() is not None


async def test_a_rotation_during_an_attempt_is_not_lost(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    source.gate.clear()
    await start()
    broker.renew_soon()
    source.gate.set()
    await clock.advance(0.1)
    assert source.attempts == 2


async def test_a_failed_rotation_keeps_the_old_session(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    await start()
    source.failure = Denied("the key is not the certificate's")
    broker.renew_soon()
    await clock.advance(pacing.ROTATION_SPREAD)
    assert source.attempts >= 2
    assert key_served_by(broker) == "ASIAEXAMPLE000000001"


async def test_a_session_that_is_over_on_arrival_replaces_nothing(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    await start()
    source.life = -1
    broker.renew_soon()
    await clock.advance(1)
    assert key_served_by(broker) == "ASIAEXAMPLE000000001"
    assert broker.last_problem is not None
    assert broker.last_problem.code == "SessionAlreadyExpired"


async def test_a_machine_that_slept_renews_when_it_wakes(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    await start()
    clock.wall += timedelta(hours=8)
    assert broker.current() is None
    await clock.advance(LONGEST_PAUSE)
    assert key_served_by(broker) == "ASIAEXAMPLE000000002"


async def test_a_clock_that_is_set_back_does_not_put_off_the_renewal(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    await start()
    clock.wall -= timedelta(days=365)
    await clock.advance(LONGEST_PAUSE)
    assert source.attempts == 2


async def test_an_unforeseen_failure_neither_stops_the_broker_nor_reaches_readiness(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    source.failure = ValueError(f"surprise with {SECRET_ACCESS_KEY}")
    await start()
    assert broker.last_problem is not None
    assert "ValueError" in broker.last_problem.sentence
    assert SECRET_ACCESS_KEY not in broker.last_problem.sentence
    source.failure = None
    await clock.advance(3)
    assert broker.current() is not None


async def test_a_failure_is_a_warning_while_something_is_served_and_an_error_when_not(
    broker: Broker,
    source: ScriptedSource,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    start: Start,
) -> None:
    await start()
    source.failure = Busy()
    await clock.advance(HALF_LIFE)
    await clock.advance(HALF_LIFE + 1)
    await clock.advance(2 * pacing.PASSING.longest)
    failures = [one for one in caplog.records if one.message == "session renewal failed"]
    assert failures[0].levelno == logging.WARNING
    assert vars(failures[0])["code"] == "Throttled"
    [urgent] = [one for one in failures if one.levelno == logging.ERROR]
    assert not vars(urgent)["still_serving"]


async def test_a_broker_that_misses_its_turns_is_stuck(
    broker: Broker, clock: FakeClock, start: Start
) -> None:
    await start()
    await clock.advance(10_000)
    assert not broker.is_stuck
    clock.ticks += 10_000  # time passes, and nobody wakes it
    assert broker.is_stuck


# Waiting: what may hurry an attempt, and what may not


async def test_files_that_change_at_every_look_do_not_become_a_request_at_every_look(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    source.failure = Denied("the key is not the certificate's")
    await start()
    for _ in range(150):
        broker.renew_soon()
        await clock.advance(2)
    hurried = pacing.HURRIES + 300 / pacing.HURRY_REGAINED
    assert source.attempts <= 1 + hurried + 300 / pacing.LASTING.first


async def test_a_rotation_does_not_break_a_retry_after(
    broker: Broker, source: ScriptedSource, clock: FakeClock, start: Start
) -> None:
    source.failure = Busy(retry_after=120)
    await start()
    for _ in range(59):
        broker.renew_soon()
        await clock.advance(2)
    assert source.attempts == 1
    await clock.advance(4)
    assert source.attempts == 2


async def test_a_rotation_does_not_jump_the_queue_that_throttling_made(
    broker: Broker, source: ScriptedSource, clock: FakeClock, draws: list[float], start: Start
) -> None:
    draws.extend([0.0, 0.99, 0.99, 0.99])
    source.failure = Throttled("too fast")
    await start()
    await clock.advance(3 + 9)
    attempts = source.attempts
    assert attempts == 3
    broker.renew_soon()
    await clock.advance(20)
    assert source.attempts == attempts


async def test_a_throttled_sidecar_waits_longer_each_time_and_remembers_after_a_success(
    broker: Broker, source: ScriptedSource, clock: FakeClock, draws: list[float], start: Start
) -> None:
    draws.extend([0.0, 0.99, 0.99, 0.99, 0.99])
    source.failure = Throttled("too fast")
    await start()
    await clock.advance(3 + 9 + 27)
    assert source.attempts == 4
    source.failure = None
    await clock.advance(81)
    assert broker.current() is not None
    source.failure = Throttled("too fast")
    attempts = source.attempts
    while source.attempts == attempts:
        await clock.advance(1)
    await clock.advance(60)
    # With nothing learned these would be a second apart.
    assert source.attempts - attempts <= 4


async def test_waits_shorten_as_the_end_of_the_session_comes_near(
    broker: Broker, source: ScriptedSource, clock: FakeClock, draws: list[float], start: Start
) -> None:
    await start()
    draws.extend([0.99] * 200)
    source.failure = Denied("no")
    await clock.advance(3600 - 30)
    early = source.attempts
    assert early < 20
    await clock.advance(29)
    assert source.attempts - early >= 2
    source.failure = None


# Each example lives through half an hour: one that fails is not made smaller.
@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.sampled_from([Denied("no"), Busy(), Busy(retry_after=900), Throttled("too fast")]),
    st.floats(min_value=30, max_value=1500),
    st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_no_session_lapses_that_the_service_would_still_have_renewed(
    failure: Exception, left: float, draw: float
) -> None:
    """However it failed before, half a minute of a healthy service is enough."""

    async def lived() -> None:
        clock = FakeClock()
        source = ScriptedSource(clock.now)
        broker = Broker(source, clock=clock, draw=lambda: draw)
        running = asyncio.create_task(broker.run())
        await clock.advance(1)
        source.failure = failure
        await clock.advance(3599 - left)
        source.failure = None
        for _ in range(int(left)):
            await clock.advance(1)
            assert broker.current() is not None
        assert key_served_by(broker) != "ASIAEXAMPLE000000001"
        running.cancel()

    asyncio.run(lived())


# Turns in a fleet


async def test_nothing_is_asked_before_its_turn(source: ScriptedSource, clock: FakeClock) -> None:
    turn = clock.now() + timedelta(seconds=90)
    async with a_running(Broker(source, clock=clock, draw=lambda: 0.0, start_after=turn)) as broker:
        broker.renew_soon()
        await clock.advance(56)
        assert source.attempts == 0
        assert broker.prospect == (
            "waits for its turn at 2026-03-01T12:01:30Z, in 34 s, because many pods start at once"
        )
        await clock.advance(35)
        assert source.attempts == 1
        assert "turn" not in broker.prospect


async def test_a_turn_that_is_over_holds_nothing_up(
    source: ScriptedSource, clock: FakeClock
) -> None:
    turn = clock.now() - timedelta(days=1)
    async with a_running(Broker(source, clock=clock, draw=lambda: 0.0, start_after=turn)):
        assert source.attempts == 1


async def test_a_turn_beyond_an_hour_is_ignored_with_a_warning(
    source: ScriptedSource, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    turn = clock.now() + timedelta(hours=1, seconds=1)
    async with a_running(Broker(source, clock=clock, draw=lambda: 0.0, start_after=turn)):
        assert source.attempts == 1
    [record] = [one for one in caplog.records if one.message == "turn ignored"]
    assert "check the clocks" in vars(record)["problem"]


async def test_a_clock_that_is_set_back_does_not_bring_a_turn_forward(
    source: ScriptedSource, clock: FakeClock
) -> None:
    turn = clock.now() + timedelta(seconds=90)
    async with a_running(Broker(source, clock=clock, draw=lambda: 0.0, start_after=turn)):
        clock.wall -= timedelta(minutes=5)
        await clock.advance(80)
        assert source.attempts == 0


async def test_the_first_attempts_of_a_node_are_a_moment_apart(
    source: ScriptedSource, clock: FakeClock
) -> None:
    async with a_running(Broker(source, clock=clock, draw=lambda: 0.5)):
        assert source.attempts == 0
        await clock.advance(pacing.START_SPREAD)
        assert source.attempts == 1


# A session that an earlier process has kept


async def test_a_kept_session_is_served_at_once_and_renewed_in_its_time(
    source: ScriptedSource, clock: FakeClock
) -> None:
    broker = Broker(source, clock=clock, draw=lambda: 0.0)
    broker.adopt(some_credentials(900, issued=clock.now() - timedelta(minutes=20)))
    async with a_running(broker):
        await clock.advance(599)
        assert key_served_by(broker) == "ASIAEXAMPLE000000900"
        assert source.attempts == 0
        await clock.advance(2)
        assert source.attempts == 1


async def test_a_kept_session_waits_for_no_turn(source: ScriptedSource, clock: FakeClock) -> None:
    """The turn was for the cold start; a session that ages now would lapse before it."""
    turn = clock.now() + timedelta(minutes=50)
    broker = Broker(source, clock=clock, draw=lambda: 0.0, start_after=turn)
    broker.adopt(some_credentials(900, issued=clock.now() - timedelta(minutes=40)))
    async with a_running(broker):
        await clock.advance(pacing.SHORTEST_RENEWAL)
        assert source.attempts == 1


# What is told


async def test_a_problem_that_waits_for_somebody_is_one_error_and_then_less(
    broker: Broker,
    source: ScriptedSource,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    start: Start,
) -> None:
    await start()
    source.failure = Denied("no (request id 1)", hint="mend the trust policy")
    await clock.advance(HALF_LIFE + 120)
    source.failure = Denied("no (request id 2)", hint="mend the trust policy")
    await clock.advance(120)
    levels = [one.levelno for one in caplog.records if one.message == "session renewal failed"]
    assert len(levels) > 5
    assert levels == [logging.ERROR, *[logging.WARNING] * (len(levels) - 1)]


async def test_another_problem_is_another_error_and_so_is_its_return(
    broker: Broker,
    source: ScriptedSource,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    start: Start,
) -> None:
    await start()
    for hint in ("mend the trust policy", "enable the profile", "", "enable the profile"):
        source.failure = Denied("no", hint=hint) if hint else None
        broker.renew_soon()
        await clock.advance(45)
    errors = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert [vars(one)["problem"].partition("; ")[2] for one in errors] == [
        "mend the trust policy",
        "enable the profile",
        "enable the profile",
    ]


async def test_what_comes_next_is_known(
    broker: Broker, source: ScriptedSource, clock: FakeClock, draws: list[float], start: Start
) -> None:
    draws.extend([0.0, 0.5])
    source.failure = Denied("no")
    await start()
    await clock.advance(18)
    assert broker.prospect == "next attempt in 12 s"
    source.gate.clear()
    await clock.advance(12)
    assert broker.prospect == "an attempt is under way"


async def test_every_attempt_is_counted_with_its_code(
    source: ScriptedSource, clock: FakeClock
) -> None:
    counted: list[str] = []
    broker = Broker(source, clock=clock, draw=lambda: 0.0, count=counted.append)
    source.failure = Busy()
    async with a_running(broker):
        source.failure = Denied("no")
        await clock.advance(1)
        source.failure = None
        await clock.advance(15)
    assert counted == ["Throttled", "AccessDenied", ""]


async def test_a_session_that_is_second_best_is_asked_for_again_slowly(
    source: ScriptedSource, clock: FakeClock
) -> None:
    second_best = True
    broker = Broker(source, clock=clock, draw=lambda: 0.5, unsettled=lambda: second_best)
    async with a_running(broker):
        await clock.advance(1200)
        assert 3 < source.attempts < 15
        second_best = False
        await clock.advance(300)
        attempts = source.attempts
        await clock.advance(1200)
        assert source.attempts == attempts
