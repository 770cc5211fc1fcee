"""Work that goes on until somebody ends the process, and its end, by force if need be.

A name that does not resolve, or a volume that hangs, keeps a thread that nobody can interrupt: it
may cost an answer, but never the end. Never decides what the work is.
"""

import asyncio
import logging
import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, NoReturn, Protocol, TypeVar

log = logging.getLogger(__name__)

# Seconds from the signal until the process ends by force. The kubelet's patience is 30.
LAST_RESORT_SECONDS: Final = 8.0

# Between two complaints of the same.
COMPLAINT_SECONDS: Final = 10.0

T = TypeVar("T")


class Work(Protocol):
    """What goes on for as long as the process does."""

    async def run(self) -> NoReturn: ...


async def together(background: Sequence[Work], *, until: asyncio.Event) -> None:
    """All in the background; should one end, which none may, so does everything."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work.run()) for work in background]
        await until.wait()
        for task in tasks:
            task.cancel()


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; some seconds later the process ends by force."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    reading, writing = os.pipe()
    threading.Thread(target=_end_after_first, args=(reading,), daemon=True).start()

    def stopping(number: int) -> None:
        log.info("stopping", extra={"signal": signal.Signals(number).name})
        stop.set()

    # Not the loop's own way to hear of signals: it hears of nothing while a file hangs. Nor
    # anything that takes a lock here, which the interrupted code may be holding.
    def asked_to(number: int, _: object) -> None:
        os.write(writing, b".")
        loop.call_soon_threadsafe(stopping, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked_to)
    return stop


def complain_briefly(
    loop: asyncio.AbstractEventLoop, *, monotonic: Callable[[], float] = time.monotonic
) -> None:
    """Let what the system refuses to the loop itself, such as one more descriptor, be one line in
    some seconds; asyncio would log a traceback for each of thousands of attempts."""
    since, unsaid = -math.inf, 0

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal since, unsaid
        problem = context.get("exception")
        if not isinstance(problem, OSError) or "accept" not in context.get("message", ""):
            loop.default_exception_handler(context)
            return
        unsaid += 1
        if monotonic() - since >= COMPLAINT_SECONDS:
            reason = problem.strerror or type(problem).__name__
            log.error("connections refused", extra={"problem": reason, "times": unsaid})
            since, unsaid = monotonic(), 0

    loop.set_exception_handler(handle)


def _end_after_first(reading: int) -> None:
    os.read(reading, 1)
    time.sleep(LAST_RESORT_SECONDS)
    os._exit(0)


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, which would wait at its end for every thread, also for one that hangs."""

    async def unattended() -> T:
        asyncio.get_running_loop().set_default_executor(_Unattended())
        return await main

    return asyncio.run(unattended())


class _Unattended(ThreadPoolExecutor):
    """Threads that nobody waits for when the process ends, one for each piece of work."""

    # What the base class says of arguments and result, mypy knows better than we could repeat.
    def submit(self, work, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        promised: Future[Any] = Future()

        def fulfil() -> None:
            if not promised.set_running_or_notify_cancel():
                return
            try:
                promised.set_result(work(*args, **kwargs))
            except BaseException as problem:
                promised.set_exception(problem)

        threading.Thread(target=fulfil, daemon=True).start()
        return promised


@contextmanager
def ended_by_force(
    *, within: float, too_late: Callable[[], None], after_signal: float, code: int
) -> Iterator[None]:
    """End the process while the block runs: with 1, after ``too_late``, once it has taken
    ``within`` seconds; with ``code`` ``after_signal`` seconds after a signal that Python handles.

    A thread does so, told by the interpreter's own handler, for the main one may hang in a file.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        heard = _heard(reading, within)
        if heard == b"":
            return
        if heard is None:
            too_late()
            os._exit(1)
        end = time.monotonic() + after_signal
        while (left := end - time.monotonic()) > 0:
            if _heard(reading, left) == b"":
                return
        os._exit(code)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        watcher.join()
        os.close(reading)


def _heard(reading: int, within: float) -> bytes | None:
    """What came within so many seconds; empty at the end of all, None if nothing came."""
    ready, _, _ = select.select([reading], [], [], within)
    return os.read(reading, 1) if ready else None
