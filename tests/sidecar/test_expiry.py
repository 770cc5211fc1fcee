"""The warning that a certificate comes near its end."""

import asyncio
import logging
from datetime import timedelta

import pytest

from rolesanywhere_sidecar.identities.identity import Identity
from rolesanywhere_sidecar.renewal.expiry import ExpiryWatcher
from tests.sidecar.test_metrics import an_identity
from tests.support.clocks import FakeClock


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [one for one in caplog.records if one.message == "certificate expires soon"]
    assert all(one.levelno == logging.WARNING for one in records)
    return [vars(one)["problem"] for one in records]


def look_for(watcher: ExpiryWatcher, clock: FakeClock, *, hours: float) -> None:
    """An hour a step."""
    for _ in range(int(hours)):
        watcher.look()
        clock.wall += timedelta(hours=1)
    watcher.look()


def test_a_certificate_that_crosses_the_line_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, identity = FakeClock(), an_identity(hours=30)
    watcher = ExpiryWatcher(lambda: identity, clock=clock)
    look_for(watcher, clock, hours=6)
    assert warned(caplog) == []
    look_for(watcher, clock, hours=10)
    [sentence] = warned(caplog)
    assert "expires at 2026-03-02 18:00:00Z" in sentence


def test_each_leaf_is_warned_of_in_its_turn(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    held: list[Identity] = [an_identity(hours=30)]
    watcher = ExpiryWatcher(lambda: held[-1], clock=clock)
    look_for(watcher, clock, hours=8)
    held.append(an_identity(hours=60))
    look_for(watcher, clock, hours=40)
    assert len(warned(caplog)) == 2


def test_what_is_near_its_end_when_it_is_loaded_is_not_said_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, identity = FakeClock(), an_identity(hours=1)
    look_for(ExpiryWatcher(lambda: identity, clock=clock), clock, hours=3)
    assert warned(caplog) == []


def test_without_a_certificate_there_is_nothing_to_watch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    look_for(ExpiryWatcher(lambda: None, clock=clock), clock, hours=3)
    assert warned(caplog) == []


async def test_it_looks_every_minute_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    clock, identity = FakeClock(), an_identity(hours=25)
    watcher = ExpiryWatcher(lambda: identity, clock=clock)
    running = asyncio.create_task(watcher.run())
    await clock.advance(3600 - 1)
    assert warned(caplog) == []
    assert not watcher.is_stuck
    await clock.advance(60 + 2)
    assert len(warned(caplog)) == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_watcher_that_misses_its_turns_is_stuck() -> None:
    clock = FakeClock()
    watcher = ExpiryWatcher(lambda: None, clock=clock)
    clock.ticks += 170
    assert not watcher.is_stuck
    clock.ticks += 20
    assert watcher.is_stuck
