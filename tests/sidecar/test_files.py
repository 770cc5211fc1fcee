"""Files that somebody else named: none of them makes us wait, and none is taken for another."""

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rolesanywhere_sidecar import files
from rolesanywhere_sidecar.__main__ import _load

PATIENCE_SECONDS = 2.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tls.key"
    path.write_bytes(b"a key")
    return path


@pytest.fixture
def swapped(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever asks what ``path`` is finds a pipe there right after."""
    honest = Path.stat

    def swapping(self: Path, **how: bool) -> os.stat_result:
        status = honest(self, **how)
        if self == path and stat.S_ISREG(status.st_mode):
            path.unlink()
            os.mkfifo(path)
        return status

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", swapping)
        yield


@pytest.mark.usefixtures("swapped")
def test_a_pipe_that_takes_a_files_place_makes_nobody_wait(path: Path) -> None:
    assert within_patience(lambda: files.read_regular(path)) == b"a key"


@pytest.mark.usefixtures("swapped")
def test_the_mode_of_a_configuration_file_is_that_of_what_was_read(path: Path) -> None:
    path.chmod(0o600)
    assert within_patience(lambda: _load(str(path))) == (b"a key", True)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "thing")
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(OSError, match="it is not a regular file"):
        files.read_regular(tmp_path / "thing")
    assert files.read_own(tmp_path / "thing", most=9) is None
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_link_is_followed_to_what_somebody_named_and_not_to_what_is_ours(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    assert files.read_regular(link) == b"a key"
    assert files.read_own(link, most=9) is None


def within_patience(read: Callable[[], object]) -> object:
    """What ``read`` gives, in a thread that may hang."""
    found: list[object] = []
    reading = threading.Thread(target=lambda: found.append(read()), daemon=True)
    reading.start()
    reading.join(PATIENCE_SECONDS)
    assert found, "it waits for a writer"
    return found[0]
