"""A lock that processes share: one of them works, the others wait for what it leaves behind.

The kernel gives it up when its holder ends, however that ends; one that hangs is waited for no
longer than the caller says. Never removes a lock file: another process may be waiting on it.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar import files

# Seconds between two looks. A thread that waits in the kernel could not be told to stop.
POLL_SECONDS: Final = 0.05


class LockUnavailable(RolesAnywhereError):
    """The lock cannot be had: its file cannot be opened, or its holder does not let go."""

    code = "LockUnavailable"
    retryable = True


class LockBusy(LockUnavailable):
    """Its holder does not let go."""


def beside(path: Path) -> Path:
    """The lock file that guards ``path``."""
    return path.with_name(f"{path.name}.lock")


@asynccontextmanager
async def held(path: Path, *, within: float) -> AsyncIterator[None]:
    """Hold the lock of the file ``path`` while the block runs, waiting ``within`` seconds for it.

    Raises `LockUnavailable` before the block.
    """
    # In a thread: a file system may hang.
    descriptor = await asyncio.to_thread(_open, path)
    try:
        await _taken(descriptor, path, within=within)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def waited_for(path: Path, *, within: float) -> Iterator[None]:
    """As `held`, where a thread may block."""
    descriptor = _open(path)
    try:
        end = time.monotonic() + within
        while not _taken_now(descriptor, path):
            if time.monotonic() >= end:
                raise _busy(path, within)
            time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except (OSError, ValueError) as wrong:  # a null in the name is a ValueError
        raise _unusable(path, wrong) from None
    # Whoever else owns it could hold it for as long as he likes.
    if not files.is_own(os.fstat(descriptor)):
        os.close(descriptor)
        raise _unusable(path, OSError(0, "it is not ours, or no regular file"))
    return descriptor


async def _taken(descriptor: int, path: Path, *, within: float) -> None:
    try:
        async with asyncio.timeout(within):
            while not _taken_now(descriptor, path):  # noqa: ASYNC110 - another process sets no event of ours
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise _busy(path, within) from None


def _taken_now(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as wrong:  # a file system without locks
        raise _unusable(path, wrong) from None
    return True


def _busy(path: Path, within: float) -> LockBusy:
    return LockBusy(
        f"another process has held the lock file {path} for {within:g} seconds",
        hint="look for one that hangs",
    )


def _unusable(path: Path, wrong: Exception) -> LockUnavailable:
    reason = getattr(wrong, "strerror", None) or wrong
    return LockUnavailable(
        f"the lock file {path} cannot be used: {reason}",
        hint="its folder must be writable, and the file ours",
    )
