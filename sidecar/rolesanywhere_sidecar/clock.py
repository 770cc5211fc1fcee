"""Time as something that is handed in, so that a test can own it, and set right by the service.

Never decides what a time means: that is `pacing` and `credentials`.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

log = logging.getLogger(__name__)

# A service further away in time than this is a mistake somewhere: TLS would not verify for long.
LARGEST_SKEW: Final = timedelta(days=1)

# From here on somebody is told: SigV4 tolerates five minutes, and clocks that are kept are better.
NOTABLE_SKEW: Final = timedelta(minutes=1)

# The world's time and the machine's uptime part by this much only when somebody sets the clock.
CLOCK_SET: Final = timedelta(seconds=30)

_DATE_RESOLUTION: Final = timedelta(seconds=1)
# A service is many machines: no correction shall flap because of which of them answered.
_HOSTS_APART: Final = timedelta(seconds=1)


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


def uptime() -> float:
    """Seconds that no setting of the clock changes; a suspend counts, where Linux tells."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Skew:
    """How far this machine's clock is off, as the service's replies show.

    What was learned is forgotten as soon as somebody sets the machine's clock: whoever does, does
    it to set it right, and an old correction would then let us serve what has expired.
    """

    def __init__(self, uptime: Callable[[], float] = uptime) -> None:
        self._uptime = uptime
        self._ahead = timedelta()
        self._learned_at: tuple[datetime, float] | None = None
        self._told = False

    @property
    def seconds(self) -> float:
        """By how much this machine's clock is ahead; negative when it is behind."""
        return self._ahead.total_seconds()

    @property
    def known(self) -> bool:
        """Whether the service has told the time yet."""
        return self._learned_at is not None

    def correct(self, at: datetime) -> datetime:
        """The service's time when this machine's clock shows ``at``, which is now."""
        if self._ahead and self._has_been_set(at):
            self._ahead = timedelta()
        return at - self._ahead

    def learn(self, theirs: datetime, *, sent: datetime, received: datetime) -> None:
        """``theirs`` is a Date header; ``sent`` and ``received`` this machine's time around it."""
        # Before any sum: one that ends beyond the calendar has no result.
        if abs(received - theirs) > LARGEST_SKEW:
            return
        self._ahead = measured(theirs, sent=sent, received=received, held=self._ahead)
        self._learned_at = (received, self._uptime())
        self._tell()

    def _has_been_set(self, at: datetime) -> bool:
        if self._learned_at is None:
            return False
        then, uptime_then = self._learned_at
        drift = (at - then) - timedelta(seconds=self._uptime() - uptime_then)
        return abs(drift) > CLOCK_SET

    def _tell(self) -> None:
        """Once, until it is right again."""
        notable = abs(self._ahead) > NOTABLE_SKEW
        if notable and not self._told:
            direction = "ahead of" if self._ahead > timedelta() else "behind"
            log.warning(
                "clock skewed",
                extra={
                    "problem": f"this machine's clock is {abs(self.seconds):.0f} seconds"
                    f" {direction} the service's; it is corrected here, but set it:"
                    " the application's own requests are signed with it",
                    "skew_seconds": self.seconds,
                },
            )
        self._told = notable


def measured(theirs: datetime, *, sent: datetime, received: datetime, held: timedelta) -> timedelta:
    """How far ahead we are, in whole seconds, by a reply that was dated ``theirs``.

    The date has lost its fraction of a second, and may be from any moment between ``sent`` and
    ``received``: within that uncertainty no skew at all is likeliest, and then what is ``held``.
    """
    least, most = sent - (theirs + _DATE_RESOLUTION), received - theirs
    for likely in (timedelta(), held):
        if least - _HOSTS_APART <= likely <= most + _HOSTS_APART:
            return likely
    return timedelta(seconds=round(((least + most) / 2).total_seconds()))


class CorrectedClock:
    """``clock``, its time set right by what ``skew`` has learned."""

    def __init__(self, clock: Clock, skew: Skew) -> None:
        self._clock = clock
        self._skew = skew

    def now(self) -> datetime:
        return self._skew.correct(self._clock.now())

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def pause(self, seconds: float, *, unless: asyncio.Event) -> None:
        await self._clock.pause(seconds, unless=unless)
