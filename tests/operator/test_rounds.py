"""When bindings are looked at: often enough, never twice at once, and slower after failures."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from rolesanywhere_operator.controller import rounds
from rolesanywhere_operator.controller.rounds import Key, Rounds
from rolesanywhere_operator.kube.errors import Conflict, Unavailable
from rolesanywhere_operator.kube.reflector import Chance

REPORTS = ("team-a", "reports")
OTHER = ("team-b", "other")


class Looking:
    """A look that does as it is told, and the pauses that were made."""

    def __init__(self) -> None:
        self.seen: list[Key] = []
        self.outcomes: list[Exception | float | None] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = 0
        self.most = 0
        self.slept: list[float] = []

    async def look(self, key: Key) -> float | None:
        self.seen.append(key)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def going(looking: Looking) -> AsyncIterator[Rounds]:
    under_test = Rounds(looking.look, chance=Chance(lambda: 1.0, looking.sleep))
    running = asyncio.create_task(under_test.run())
    try:
        yield under_test
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_many_marks_at_once_are_one_look() -> None:
    looking = Looking()
    async with going(looking) as under_test:
        for _ in range(100):
            under_test.mark(REPORTS)
        await settled()
    assert looking.seen == [REPORTS]


async def test_a_mark_during_a_look_is_one_more_look_after_it() -> None:
    looking = Looking()
    looking.gate.clear()
    async with going(looking) as under_test:
        under_test.mark(REPORTS)
        await until(lambda: looking.at_once == 1)
        for _ in range(10):
            under_test.mark(REPORTS)
        await settled()
        assert looking.seen == [REPORTS]
        looking.gate.set()
        await settled()
    assert looking.seen == [REPORTS, REPORTS]
    assert looking.most == 1


async def test_bindings_do_not_wait_for_each_other_but_there_is_an_end_to_it() -> None:
    looking = Looking()
    looking.gate.clear()
    async with going(looking) as under_test:
        for number in range(50):
            under_test.mark(("team-a", f"binding-{number}"))
        await settled()
        assert looking.at_once == 8
        looking.gate.set()
        await until(lambda: len(looking.seen) == 50)
    assert looking.most == 8


async def test_failed_looks_are_repeated_ever_slower_and_a_success_forgives() -> None:
    looking = Looking()
    failures = [Unavailable("away") for _ in range(9)]
    looking.outcomes = [*failures, None, Unavailable("away again"), None]
    async with going(looking) as under_test:
        under_test.mark(REPORTS)
        await until(lambda: len(looking.seen) == 10)
        under_test.mark(REPORTS)
        await until(lambda: len(looking.seen) == 12)
    assert looking.slept == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 0.5]


async def test_a_bug_with_one_binding_is_logged_and_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    looking = Looking()
    looking.outcomes = [KeyError("oops"), None, None]
    async with going(looking) as under_test:
        under_test.mark(REPORTS)
        under_test.mark(OTHER)
        await until(lambda: looking.seen.count(OTHER) == 1 and looking.seen.count(REPORTS) == 2)
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert vars(record)["code"] == "Internal"
    assert record.exc_info


async def test_a_conflict_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    looking = Looking()
    looking.outcomes = [Conflict("changed"), None]
    async with going(looking) as under_test:
        under_test.mark(REPORTS)
        await until(lambda: len(looking.seen) == 2)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_look_may_ask_for_another_and_a_mark_comes_before_that() -> None:
    looking = Looking()
    waits: list[asyncio.Event] = []

    async def sleep(seconds: float) -> None:
        assert seconds == 600.0
        waits.append(asyncio.Event())
        await waits[-1].wait()

    looking.outcomes = [600.0, 600.0, None]
    under_test = Rounds(looking.look, chance=Chance(lambda: 1.0, sleep))
    running = asyncio.create_task(under_test.run())
    under_test.mark(REPORTS)
    await until(lambda: len(waits) == 1)
    under_test.mark(REPORTS)
    await until(lambda: len(waits) == 2)
    assert len(looking.seen) == 2
    # The first wait is called off.
    waits[0].set()
    await settled()
    assert len(looking.seen) == 2
    waits[1].set()
    await until(lambda: len(looking.seen) == 3)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def test_the_pauses_are_bounded() -> None:
    assert rounds.FIRST_PAUSE_SECONDS < rounds.LAST_PAUSE_SECONDS <= 60


async def test_each_look_is_told_of_by_its_code() -> None:
    looking, codes = Looking(), list[str]()
    looking.outcomes = [Unavailable("down"), ValueError("oops"), None]
    chance = Chance(lambda: 1.0, looking.sleep)
    under_test = Rounds(looking.look, chance=chance, looked=codes.append)
    running = asyncio.create_task(under_test.run())
    under_test.mark(REPORTS)
    await until(lambda: len(codes) == 3)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert codes == ["KubernetesUnavailable", "Internal", ""]
