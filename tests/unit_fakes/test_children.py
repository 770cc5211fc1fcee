"""What we start ends with us, and leaves nothing behind."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.children import SIGNALS, Children, Interrupted, interruptible
from tests.support.waiting import eventually, runs

# Starts a child that outlives it, tells who that is, and goes on as told.
LEAVES_A_SERVER_BEHIND = """
import pathlib, subprocess, sys, time
server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
try:
    pathlib.Path("server.partial").write_text(str(server.pid))
    pathlib.Path("server.partial").rename("server")
    {then}
except KeyboardInterrupt:
    pathlib.Path("told").touch()
    sys.exit(2)
"""


def a_parent(then: str) -> list[str]:
    return [sys.executable, "-c", LEAVES_A_SERVER_BEHIND.format(then=then)]


def server_of(folder: Path) -> int:
    """The process id, once there is one."""
    file = folder / "server"
    eventually("the server is started", file.exists)
    return int(file.read_text())


def test_what_a_child_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        assert children.run(a_parent("sys.exit(7)")) == 7
        eventually("the server is gone", lambda: not runs(server_of(tmp_path)))


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_who_is_told_to_end_passes_it_on_and_waits(tmp_path: Path, number: signal.Signals) -> None:
    def tell() -> None:
        server_of(tmp_path)
        time.sleep(0.1)
        os.kill(os.getpid(), number)

    telling = threading.Thread(target=tell)
    with Children(tmp_path) as children, interruptible():
        telling.start()
        with pytest.raises(Interrupted) as caught:
            children.run(a_parent("time.sleep(600)"))
    telling.join()
    assert caught.value.exit_code == 128 + number
    assert (tmp_path / "told").exists()
    eventually("the server is gone", lambda: not runs(server_of(tmp_path)))


def test_what_runs_beside_is_killed_in_the_end_and_nothing_is_started_any_more(
    tmp_path: Path,
) -> None:
    children = Children(tmp_path)
    codes: list[int] = []
    beside = threading.Thread(
        target=lambda: codes.append(children.run(a_parent("time.sleep(600)")))
    )
    with children:
        beside.start()
        server = server_of(tmp_path)
    beside.join()
    assert codes == [-signal.SIGKILL]
    eventually("the server is gone", lambda: not runs(server))
    with pytest.raises(Interrupted):
        children.run(a_parent("sys.exit(0)"))


def test_what_a_child_says_can_be_kept_for_later(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with Children(tmp_path) as children:
        for word in ("first", "second"):
            children.run([sys.executable, "-c", f"print({word!r})"], output=said)
    assert said.read_text() == "first\nsecond\n"
