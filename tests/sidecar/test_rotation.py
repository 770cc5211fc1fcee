"""What the watcher makes of files that change, and of files that cannot be read."""

import asyncio
import logging
import threading

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.renewal.problems import Problem
from rolesanywhere_sidecar.renewal.rotation import POLL_SECONDS, RotationWatcher
from tests.support.clocks import FakeClock
from tests.support.sidecars import eventually


class Unreadable(RolesAnywhereError):
    code = "UnreadableFile"


class Files:
    """Content that a test changes; an exception instead of content is raised."""

    certificate = "/identity/tls.crt"

    def __init__(self, content: bytes | Exception = b"first") -> None:
        self.content = content

    def fingerprint(self) -> bytes:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


class Watched:
    """A watcher with its files, and how often it called."""

    def __init__(self, content: bytes | Exception = b"first") -> None:
        self.files = Files(content)
        self.clock = FakeClock()
        self.calls = 0
        self.watcher = RotationWatcher(self.files, changed=self._count, clock=self.clock)

    def _count(self) -> None:
        self.calls += 1

    async def sees(self, *contents: bytes | Exception) -> int:
        """The number of calls after one look at each of ``contents``."""
        for content in contents:
            self.files.content = content
            await self.watcher.look()
        return self.calls


async def test_files_that_stay_the_same_call_nobody() -> None:
    assert await Watched().sees(b"first", b"first", b"first") == 0


async def test_each_new_content_calls_once() -> None:
    assert await Watched().sees(b"first", b"second", b"second", b"third", b"first") == 3


@pytest.mark.parametrize(
    "failure",
    [Unreadable("tls.crt is gone"), PermissionError(13, "denied"), RuntimeError("a bug of ours")],
)
async def test_files_unreadable_in_mid_rotation_heal(failure: Exception) -> None:
    assert await Watched().sees(b"first", failure, failure, b"second") == 1


async def test_files_that_come_back_unchanged_are_news_to_renewals_that_failed_meanwhile() -> None:
    assert await Watched().sees(b"first", Unreadable("gone"), b"first", b"first") == 1


async def test_files_that_come_late_are_news_to_renewals_that_failed_meanwhile() -> None:
    assert await Watched().sees(Unreadable("not there yet"), b"first", b"first") == 1


async def test_being_unreadable_is_logged_once_until_it_heals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = Unreadable("tls.crt is gone")
    with caplog.at_level(logging.WARNING):
        await Watched().sees(b"first", gone, gone, gone, b"first", gone)
    assert [vars(one)["problem"] for one in caplog.records] == ["tls.crt is gone"] * 2


async def test_what_is_wrong_is_told_until_it_heals() -> None:
    watched = Watched()
    await watched.sees(b"first", Unreadable("tls.crt is gone"))
    assert watched.watcher.last_problem == Problem(Unreadable.code, "tls.crt is gone")
    await watched.sees(b"first")
    assert watched.watcher.last_problem is None


async def test_it_looks_every_few_seconds_for_ever() -> None:
    watched = Watched()
    running = asyncio.create_task(watched.watcher.run())
    await _a_look_ends(watched.clock)
    for number in range(3):
        watched.files.content = b"%d" % number
        await watched.clock.advance(POLL_SECONDS)
        await _a_look_ends(watched.clock)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert watched.calls == 3
    assert not watched.watcher.is_stuck


async def test_a_watcher_that_misses_its_turns_is_stuck() -> None:
    watched = Watched()
    watched.clock.ticks += 1000
    assert watched.watcher.is_stuck


class HangingFiles(Files):
    """On a volume that gives nothing until ``mended``."""

    def __init__(self) -> None:
        super().__init__()
        self.mended = threading.Event()
        self.looks = 0

    def fingerprint(self) -> bytes:
        self.looks += 1
        assert self.mended.wait(10)
        return super().fingerprint()


async def test_a_volume_that_hangs_is_told_takes_one_thread_and_is_no_reason_to_restart() -> None:
    files, clock, calls = HangingFiles(), FakeClock(), []
    watcher = RotationWatcher(files, changed=lambda: calls.append(1), clock=clock, patience=0.02)
    running = asyncio.create_task(watcher.run())
    for _ in range(20):
        await _a_look_ends(clock)
        await clock.advance(POLL_SECONDS)
        assert not watcher.is_stuck
    await _a_look_ends(clock)
    assert files.looks == 1
    assert watcher.last_problem is not None
    assert watcher.last_problem.code == "UnreadableFile"
    assert "/identity/tls.crt cannot be read: no answer within" in watcher.last_problem.sentence
    files.mended.set()

    async def well() -> bool:
        await clock.advance(POLL_SECONDS)
        await _a_look_ends(clock)
        return watcher.last_problem is None

    await eventually(well)
    assert calls == [1]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def _a_look_ends(clock: FakeClock) -> None:
    """A look happens in a thread; then its watcher waits for the next."""

    async def waits() -> bool:
        return clock.sleepers == 1

    await eventually(waits)
