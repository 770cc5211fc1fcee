"""The machine's own time, where only milliseconds of it pass."""

import asyncio
from datetime import UTC, datetime, timedelta

from rolesanywhere_sidecar.clock import SystemClock


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
