"""Servers of the tests' own process that work while a test waits: each has a thread of its own."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final, TypeVar

T = TypeVar("T")

STARTS_SECONDS: Final = 30
CLOSED_SECONDS: Final = 1.0


@contextmanager
def in_background(service: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What ``service`` gives, for the length of the block; it is entered and left in a thread.

    Raises what entering it raises.
    """
    loop, ending = asyncio.new_event_loop(), asyncio.Event()
    entered: Future[T] = Future()

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

    with ThreadPoolExecutor(1) as thread:
        served = thread.submit(loop.run_until_complete, serve())
        try:
            yield entered.result(STARTS_SECONDS)
        finally:
            loop.call_soon_threadsafe(ending.set)
            served.result()
            loop.close()
