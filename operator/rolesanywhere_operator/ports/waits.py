"""How long one caller is waited for: to begin, to end what has begun, and to leave.

Every wait has an end. Never says what comes then: whoever waits brings that.
"""

import asyncio
from collections.abc import Callable
from typing import Final

# From the first byte of a head to its last.
HEAD_SECONDS: Final = 10.0
# Longer than an API server keeps a connection that it does not use (90 s): who closes first loses
# nothing, while a request that crosses our closing on its way is lost.
IDLE_SECONDS: Final = 180.0
# How long a caller gets who still sends, or is slow to read, once there is nothing more to say.
PARTING_SECONDS: Final = 2.0


class Waits:
    """Those for one caller, from now on.

    ``too_slow`` is called when the rest of what has begun does not come in time, ``silent`` when
    there has been nothing to say for long and ``is_busy`` denies that anything is under way.
    """

    def __init__(
        self,
        *,
        too_slow: Callable[[], None],
        silent: Callable[[], None],
        is_busy: Callable[[], bool],
    ) -> None:
        self._too_slow, self._silent, self._is_busy = too_slow, silent, is_busy
        self._loop = asyncio.get_running_loop()
        self._rest: asyncio.TimerHandle | None = None
        self._last_said = self._loop.time()
        self._next = self._loop.call_later(IDLE_SECONDS, self._look_whether_idle)

    def for_the_rest(self, seconds: float | None) -> None:
        """Of what has begun, and no longer for the rest of anything else; None where all came."""
        if self._rest:
            self._rest.cancel()
            self._rest = None
        if seconds is not None:
            self._rest = self._loop.call_later(seconds, self._too_slow)

    def said(self) -> None:
        """An answer went out."""
        self._last_said = self._loop.time()

    def to_part(self, then: Callable[[], None]) -> None:
        """For nothing but the caller's leave, and ``then`` no longer."""
        self.end()
        self._next = self._loop.call_later(PARTING_SECONDS, then)

    def end(self) -> None:
        """For nothing any more."""
        self.for_the_rest(None)
        self._next.cancel()

    def _look_whether_idle(self) -> None:
        """One timer for all requests: to set one for each would cost more than to read it."""
        left = self._last_said + IDLE_SECONDS - self._loop.time()
        if self._is_busy():  # What is under way has an end of its own.
            left = IDLE_SECONDS
        if left > 0:
            self._next = self._loop.call_later(left, self._look_whether_idle)
        else:
            self._silent()
