"""Blocking work in a thread of its own: whatever hangs there, hangs alone.

The loop's own threads are few, and names and authorities are looked up in them. Never waits for a
thread when the process ends.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class Lane:
    """Where one call at a time is under way, even when nobody waits for it any more."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._under_way: Future[Any] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a call has not come back yet."""
        return self._under_way is not None and not self._under_way.done()

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """What ``work`` gives or raises, once the calls before it have come back.

        Whoever is cancelled, or waits no longer, leaves the call under way.
        """
        while self.is_busy:
            await self.cleared()
        call: Future[_Result] = Future()
        call.set_running_or_notify_cancel()  # from here on nobody can cancel it
        self._under_way = call
        thread = threading.Thread(target=_work, args=(work, call), name=self._name, daemon=True)
        thread.start()
        return await asyncio.wrap_future(call)

    async def cleared(self) -> None:
        """Return when the call that is under way has come back, if there is one."""
        if self._under_way is not None:
            await asyncio.wait([asyncio.wrap_future(self._under_way)])


def _work(work: Callable[[], _Result], call: Future[_Result]) -> None:
    try:
        call.set_result(work())
    except BaseException as problem:  # whoever waits is told, in the loop
        call.set_exception(problem)
