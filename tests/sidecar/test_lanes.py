"""A thread of one's own: what comes back of it, and what hangs in it."""

import asyncio
import gc
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


async def test_a_call_that_fails_when_nobody_waits_for_it_any_more_is_no_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lane, released = Lane("test"), threading.Event()

    def fail() -> None:
        assert released.wait(10)
        raise LookupError

    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await lane.run(fail)
    released.set()
    await lane.cleared()
    await lane.run(lambda: None)
    gc.collect()
    assert caplog.messages == []


async def test_a_thread_that_lingers_takes_the_next_call() -> None:
    lane = Lane("lingering", linger=60.0)
    assert len({await lane.run(threading.current_thread) for _ in range(5)}) == 1


async def test_it_ends_when_none_comes() -> None:
    lane = Lane("lingering", linger=0.01)
    thread = await lane.run(threading.current_thread)
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()
    assert await lane.run(threading.current_thread) != thread


async def test_calls_that_come_just_as_the_thread_ends_are_not_lost() -> None:
    lane = Lane("brief", linger=0.0)
    async with asyncio.timeout(20):
        for number in range(2000):
            assert await lane.run(lambda number=number: number) == number  # type: ignore[misc]


async def test_a_machine_without_a_free_thread_costs_that_call_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lane = Lane("test")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError):
            await lane.run(lambda: 1)
    async with asyncio.timeout(5):
        assert await lane.run(lambda: 2) == 2
