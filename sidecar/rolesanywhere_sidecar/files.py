"""Files that somebody else named, read whole without trusting the name; and files of our own.

Never waits: a pipe is refused, not read. Knows nothing of what is in a file.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

# Keys and certificates are kilobytes, all public authorities together a few hundred of them; a
# path to something else must not fill the memory.
LARGEST_FILE_BYTES: Final = 1024 * 1024


def read_regular(path: Path) -> bytes:
    """All of the file. Raises OSError, also for what is no ordinary file or is far too large."""
    return read_with_status(path)[0]


def read_with_status(path: Path) -> tuple[bytes, os.stat_result]:
    """As `read_regular`, and whose file it is that was read. Raises OSError."""
    with _opened(path) as (file, status):
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise OSError(0, f"it is larger than {LARGEST_FILE_BYTES} bytes")
    return content, status


def read_own(path: Path, *, most: int) -> bytes | None:
    """The first ``most`` bytes of a file that we wrote; None for one somebody may have planted.

    Ours is a regular file of our user that nobody else may write. Never raises.
    """
    try:
        # A link may lead elsewhere.
        with _opened(path, os.O_NOFOLLOW) as (file, status):
            return file.read(most) if is_own(status) else None
    except (OSError, ValueError):  # a null in the name is a ValueError
        return None


@contextmanager
def _opened(path: Path, flags: int = 0) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """A regular file, and whose it is, by what was opened: a name may lead elsewhere by then.

    Waits for nobody at the other end of a pipe. Raises OSError.
    """
    flags |= os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file, status
    finally:
        os.close(descriptor)


def is_own(status: os.stat_result) -> bool:
    """Whether this is a regular file of our user, which nobody else may write."""
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not others_write


def write_private(
    path: Path,
    content: bytes,
    *,
    mode: int = 0o600,
    owner: tuple[int, int] | None = None,
    durable: bool = False,
) -> None:
    """Put ``content`` at ``path`` whole or not at all, with ``mode`` from the first moment on.

    A link at ``path`` is replaced, not followed. ``owner`` is a user and a group, by default our
    own. What is ``durable`` survives a loss of power. Raises OSError.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
            file.write(content)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
