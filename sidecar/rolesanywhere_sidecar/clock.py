"""Time as something that is handed in, so that a test can own it.

Never decides what a time means: that is `pacing` and `credentials`.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two times and a way to wait: the world's time, and one that nobody sets back."""

    def now(self) -> datetime:
        """The world's time, aware and in UTC; it may jump."""

    def monotonic(self) -> float:
        """Seconds since some moment; they only ever grow."""

    async def pause(self, seconds: float, *, unless: asyncio.Event) -> None:
        """Return after ``seconds``, or as soon as ``unless`` is set."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def pause(self, seconds: float, *, unless: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(seconds):
                await unless.wait()
        except TimeoutError:
            return
