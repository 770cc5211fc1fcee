"""Servers of the tests' own process that work while a test waits: each has a thread of its own."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from threading import Thread
from typing import Final, TypeVar

T = TypeVar("T")

STARTS_SECONDS: Final = 30
ENDS_SECONDS: Final = 30
CLOSED_SECONDS: Final = 1.0


@contextmanager
def in_background(service: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What ``service`` gives, for the length of the block; it is entered and left in a thread.

    Raises what entering or leaving it raises, and `TimeoutError` where that does not end.
    """
    loop, ending = asyncio.new_event_loop(), asyncio.Event()
    entered: Future[T] = Future()
    left: Future[None] = Future()

    async def serve() -> None:
        try:
            async with service as given:
                entered.set_result(given)
                await ending.wait()
        except BaseException as failed:
            if entered.done():
                raise
            entered.set_exception(failed)
        # A caller's connection that was closed is gone only in a later turn of the loop.
        await asyncio.sleep(CLOSED_SECONDS)

    serving = loop.create_task(serve())

    def work() -> None:
        try:
            left.set_result(loop.run_until_complete(serving))
        except BaseException as failed:
            left.set_exception(failed)

    # The process does not wait for this one at its end, as it does for those of an executor.
    Thread(target=work, daemon=True).start()
    try:
        yield entered.result(STARTS_SECONDS)
    finally:
        loop.call_soon_threadsafe(ending.set if entered.done() else serving.cancel)
        left.result(ENDS_SECONDS)
        loop.close()
