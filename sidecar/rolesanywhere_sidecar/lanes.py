"""Blocking work in a thread of its own: whatever hangs there, hangs alone.

The loop's own threads are few, and names and authorities are looked up in them. Never waits for a
thread when the process ends.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class Lane:
    """Where one call at a time is under way, even when nobody waits for it any more.

    Its thread stays for the next call that comes within ``linger`` seconds: a new one would take
    longer to start than a soft token takes to sign.
    """

    def __init__(self, name: str, *, linger: float = 0.0) -> None:
        self._name = name
        self._linger = linger
        self._under_way: Future[Any] | None = None
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads = threading.Lock()
        self._has_thread = False

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
        self._hand_over(lambda: _work(work, call))
        self._under_way = call
        return await asyncio.wrap_future(call)

    async def cleared(self) -> None:
        """Return when the call that is under way has come back, if there is one."""
        if self._under_way is not None:
            back = asyncio.wrap_future(self._under_way)
            back.add_done_callback(_looked_at)
            await asyncio.wait([back])

    def _hand_over(self, call: Callable[[], None]) -> None:
        """To the thread that lingers, or to a new one. Raises RuntimeError if none can be had."""
        with self._threads:
            if not self._has_thread:
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
                self._has_thread = True
            self._calls.put(call)

    def _serve(self) -> None:
        while True:
            try:
                call = self._calls.get(timeout=self._linger)
            except Empty:
                with self._threads:
                    if self._calls.empty():
                        self._has_thread = False
                        return
            else:
                call()
                # Nothing of it is kept while this waits: it may hold a PIN.
                del call


def _looked_at(back: asyncio.Future[Any]) -> None:
    """What was raised is for whoever made the call; asyncio would log it as lost."""
    if not back.cancelled():
        back.exception()


def _work(work: Callable[[], _Result], call: Future[_Result]) -> None:
    try:
        call.set_result(work())
    except BaseException as problem:  # whoever waits is told, in the loop
        call.set_exception(problem)
