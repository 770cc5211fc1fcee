"""The machine's own time, where only milliseconds of it pass, and what sets it right."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rolesanywhere_sidecar.clock import LARGEST_SKEW, CorrectedClock, Skew, SystemClock, uptime
from tests.support.clocks import START, FakeClock


async def test_a_pause_ends_after_its_seconds() -> None:
    clock = SystemClock()
    begun = clock.monotonic()
    await clock.pause(0.02, unless=asyncio.Event())
    assert 0.01 < clock.monotonic() - begun < 2


async def test_a_pause_ends_at_once_when_told() -> None:
    clock = SystemClock()
    told = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, told.set)
    async with asyncio.timeout(5):
        await clock.pause(3600, unless=told)


async def test_a_pause_that_is_cancelled_does_not_go_on() -> None:
    pausing = asyncio.create_task(SystemClock().pause(3600, unless=asyncio.Event()))
    await asyncio.sleep(0)
    pausing.cancel()
    [outcome] = await asyncio.gather(pausing, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError)


def test_now_is_aware_and_in_utc() -> None:
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)


# What the service's time teaches


class Uptime:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Machine(FakeClock):
    """A machine whose clock may be set, and whose uptime goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.uptime = Uptime()

    def passes(self, **time: float) -> None:
        self.wall += timedelta(**time)
        self.uptime.seconds += timedelta(**time).total_seconds()


def told(skew: Skew, machine: Machine, *, theirs: datetime, took: float = 0.2) -> None:
    sent = machine.wall
    machine.passes(seconds=took)
    skew.learn(theirs.replace(microsecond=0), sent=sent, received=machine.wall)


seconds = st.floats(min_value=-80_000, max_value=80_000)
moments = st.floats(min_value=0, max_value=1)


@given(seconds, moments, st.floats(min_value=0, max_value=15), moments)
def test_a_corrected_clock_is_right_within_the_replys_own_uncertainty(
    ahead: float, fraction: float, took: float, when: float
) -> None:
    machine = Machine()
    machine.wall += timedelta(seconds=fraction)
    skew = Skew(machine.uptime)
    truth = machine.wall - timedelta(seconds=ahead)
    told(skew, machine, theirs=truth + timedelta(seconds=took * when), took=took)
    off = skew.correct(machine.wall) - (truth + timedelta(seconds=took))
    assert abs(off) <= timedelta(seconds=took + 3)


@pytest.mark.parametrize("off", [-0.9, 0.0, 1.1])
def test_a_clock_that_may_well_be_right_is_left_alone(off: float) -> None:
    machine = Machine()
    skew = Skew(machine.uptime)
    told(skew, machine, theirs=machine.wall - timedelta(seconds=off))
    assert skew.seconds == 0
    assert skew.correct(machine.wall) == machine.wall


def test_the_next_reply_changes_nothing_that_it_agrees_with() -> None:
    machine = Machine()
    skew = Skew(machine.uptime)
    found = []
    for fraction in (0.1, 0.5, 0.9, 0.0):
        told(skew, machine, theirs=machine.wall + timedelta(hours=1, seconds=fraction))
        found.append(skew.seconds)
        machine.passes(minutes=30)
    assert len(set(found)) == 1


@pytest.mark.parametrize("years", [-30, 30])
def test_a_service_from_another_age_is_not_believed(years: int) -> None:
    machine = Machine()
    skew = Skew(machine.uptime)
    told(skew, machine, theirs=machine.wall + timedelta(days=365 * years))
    assert not skew.known
    assert skew.correct(machine.wall) == machine.wall


times = st.datetimes(timezones=st.just(UTC))


@given(times, times, st.timedeltas(timedelta(), timedelta(seconds=15)))
@example(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), START, timedelta(seconds=1))
@example(datetime(1, 1, 1, tzinfo=UTC), START, timedelta(seconds=1))
@example(datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), timedelta())
def test_no_date_of_the_calendar_is_too_much(
    theirs: datetime, received: datetime, took: timedelta
) -> None:
    """It comes with a session that is good."""
    skew = Skew(Uptime())
    sent = received - min(took, received - datetime.min.replace(tzinfo=UTC))
    skew.learn(theirs.replace(microsecond=0), sent=sent, received=received)
    assert skew.known == (abs(received - theirs.replace(microsecond=0)) <= LARGEST_SKEW)


def test_what_was_learned_is_forgotten_when_somebody_sets_the_clock() -> None:
    """Else a clock that was ahead and is right again would serve what expired an hour ago."""
    machine = Machine()
    skew = Skew(machine.uptime)
    told(skew, machine, theirs=machine.wall - timedelta(hours=1))
    machine.passes(minutes=10)
    assert skew.correct(machine.wall) == machine.wall - timedelta(hours=1)
    machine.wall -= timedelta(hours=1)
    assert skew.correct(machine.wall) == machine.wall
    assert skew.seconds == 0


def test_a_machine_that_slept_keeps_what_it_has_learned() -> None:
    machine = Machine()
    skew = Skew(machine.uptime)
    told(skew, machine, theirs=machine.wall - timedelta(hours=1))
    machine.passes(hours=9)
    assert skew.correct(machine.wall) == machine.wall - timedelta(hours=1)


def test_a_skewed_clock_is_told_of_once_until_it_is_right_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = Machine()
    skew = Skew(machine.uptime)
    for hours in (0, 1, 1, 1, 0, 1):
        told(skew, machine, theirs=machine.wall + timedelta(hours=hours))
    warned = [vars(one)["problem"] for one in caplog.records if one.message == "clock skewed"]
    assert len(warned) == 2
    assert "3600 seconds behind the service's" in warned[0]


def test_half_a_minute_is_corrected_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    skew = Skew(machine.uptime)
    told(skew, machine, theirs=machine.wall + timedelta(seconds=30))
    assert round(skew.seconds) == -30
    assert not caplog.records


async def test_a_corrected_clock_waits_as_its_machine_does() -> None:
    machine = Machine()
    clock = CorrectedClock(machine, Skew(machine.uptime))
    waiting = asyncio.create_task(clock.pause(60, unless=asyncio.Event()))
    await machine.advance(59)
    assert not waiting.done()
    await machine.advance(2)
    assert waiting.done()
    assert clock.monotonic() == 61


def test_uptime_only_grows() -> None:
    assert uptime() <= uptime()
