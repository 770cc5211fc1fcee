"""Whether kopf still watches: the one sign of life that it gives is that it begins watches anew.

A watch ends after ``WATCH_SECONDS`` at the latest, because kopf asks the API server to end it, and
a silent one sooner. So who has begun none for ``PATIENCE_SECONDS`` hears of nothing any more,
though the process runs, the Lease is renewed and the event loop answers. Never acts on it: the
kubelet does.
"""

from collections.abc import Callable
from typing import Final

WATCH_SECONDS: Final = 240
# Two watches, and the pauses that kopf makes between a few failures.
PATIENCE_SECONDS: Final = 600.0


class Pulse:
    """The time since kopf last began a watch; ``clock`` is steady and in seconds."""

    def __init__(
        self, clock: Callable[[], float], *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._clock = clock
        self._patience = patience_seconds
        self._last: float | None = None

    def beat(self) -> None:
        """kopf has just begun a watch, or is about to be started."""
        self._last = self._clock()

    def problem(self) -> str | None:
        """Why the process should be started again; a standby, which has not begun, has none."""
        if self._last is None:
            return None
        silent = self._clock() - self._last
        if silent <= self._patience:
            return None
        return f"no watch of bindings was begun for {silent:.0f} seconds; the log may say why"
