"""A clock that a test owns: nothing waits, and time passes only when the test says so."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class FakeClock:
    """Meets the sidecar's ``Clock``. `advance` lets time pass and everybody react to it."""

    def __init__(self, start: datetime = START) -> None:
        self.wall = start
        self.ticks = 0.0
        self._sleepers: set[tuple[float, asyncio.Event]] = set()

    @property
    def sleepers(self) -> int:
        """How many wait for time to pass."""
        return len(self._sleepers)

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    async def pause(self, seconds: float, *, unless: asyncio.Event) -> None:
        woken = asyncio.Event()
        sleeper = (self.ticks + seconds, woken)
        self._sleepers.add(sleeper)
        waits = [asyncio.ensure_future(event.wait()) for event in (woken, unless)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._sleepers.discard(sleeper)
            for wait in waits:
                wait.cancel()

    async def advance(self, seconds: float) -> None:
        """Pass ``seconds``, waking every sleeper at its own moment."""
        end = self.ticks + seconds
        await settle()
        while due := sorted(at for at, _ in self._sleepers if at <= end):
            self._pass(due[0] - self.ticks)
            for at, woken in tuple(self._sleepers):
                if at <= self.ticks:
                    woken.set()
            await settle()
        self._pass(end - self.ticks)

    def _pass(self, seconds: float) -> None:
        self.ticks += seconds
        self.wall += timedelta(seconds=seconds)


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)
