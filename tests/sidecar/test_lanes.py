"""A thread of one's own: what comes back of it, and what hangs in it."""

import asyncio
import threading

import pytest

from rolesanywhere_sidecar.lanes import Lane


async def test_what_a_call_gives_or_raises_comes_back() -> None:
    lane = Lane("test")
    assert await lane.run(lambda: threading.current_thread().name) == "test"
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 // 0)
    assert await lane.run(lambda: 2) == 2
    assert not lane.is_busy


async def test_calls_take_turns() -> None:
    lane, at_once, most = Lane("test"), [], []

    def work() -> None:
        at_once.append(1)
        most.append(len(at_once))
        threading.Event().wait(0.01)
        at_once.pop()

    await asyncio.gather(*(lane.run(work) for _ in range(5)))
    assert most == [1] * 5


async def test_a_call_that_nobody_waits_for_is_still_under_way() -> None:
    lane, released = Lane("test"), threading.Event()
    begun: list[int] = []

    def work() -> None:
        begun.append(1)
        assert released.wait(10)

    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await lane.run(work)
    assert lane.is_busy
    assert begun == [1]
    released.set()
    async with asyncio.timeout(5):
        await lane.cleared()
        await lane.run(work)
    assert begun == [1, 1]
