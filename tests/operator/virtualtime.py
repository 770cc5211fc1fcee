"""Time that passes only where a test has nothing else to do: hours in a moment, on any machine.

For what waits by the event loop's own clock. Never for sockets: nobody outside would keep up.
"""

import asyncio
import selectors
from typing import Any


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: where nothing is to be done, its clock jumps ahead."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        self._loop.now += max(timeout or 0.0, 0.0)
        return super().select(0)
