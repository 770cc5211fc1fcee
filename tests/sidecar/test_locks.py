"""One process works, the others wait; and nobody waits for ever."""

import asyncio
import fcntl
import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from rolesanywhere_sidecar import locks
from rolesanywhere_sidecar.locks import LockUnavailable, beside, held


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_who_comes_second_waits_for_the_first(tmp_path: Path) -> None:
    told: list[str] = []

    async def work(name: str) -> None:
        async with held(tmp_path / "lock", within=5):
            told.append(f"{name} in")
            await asyncio.sleep(0.1)
            told.append(f"{name} out")

    await asyncio.gather(work("a"), work("b"))
    assert told in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])


async def test_a_holder_that_hangs_is_waited_for_no_longer_than_told(tmp_path: Path) -> None:
    async with held(tmp_path / "lock", within=1):
        with pytest.raises(LockUnavailable, match=r"has held the lock file .* for 0\.1 s"):
            async with held(tmp_path / "lock", within=0.1):
                pytest.fail("two hold one lock")


async def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    script = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'w');"
        " fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, tmp_path / "lock", stdout=asyncio.subprocess.PIPE
    )
    assert other.stdout is not None
    assert await other.stdout.readline() == b"held\n"
    other.send_signal(signal.SIGKILL)
    await other.wait()
    async with held(tmp_path / "lock", within=5):
        pass


async def test_it_is_let_go_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(LookupError):
        async with held(tmp_path / "lock", within=1):
            raise LookupError
    async with held(tmp_path / "lock", within=0.1):
        pass


async def test_nobody_who_waits_in_vain_keeps_a_descriptor(tmp_path: Path) -> None:
    async with held(tmp_path / "lock", within=1):
        before = descriptors()
        for _ in range(3):
            with pytest.raises(LockUnavailable):
                async with held(tmp_path / "lock", within=0):
                    pass
        assert descriptors() == before


async def test_its_file_is_for_our_user_alone_and_stays(tmp_path: Path) -> None:
    path = beside(tmp_path / "session")
    async with held(path, within=1):
        pass
    assert path == tmp_path / "session.lock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "shared", "missing folder", "null"])
async def test_what_cannot_be_a_lock_file_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "lock"
    match kind:
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "shared":
            path.touch()
            path.chmod(0o666)
        case "missing folder":
            path = tmp_path / "none" / "lock"
        case _:
            path = Path("\0")
    with pytest.raises(LockUnavailable, match="its folder must be writable, and the file ours"):
        async with held(path, within=1):
            pass


async def test_a_file_system_without_locks_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    monkeypatch.setattr(locks, "POLL_SECONDS", 60)
    with pytest.raises(LockUnavailable, match="Operation not supported"):
        async with held(tmp_path / "lock", within=60):
            pass
