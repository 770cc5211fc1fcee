"""Programs that we start, wait for and end: none outlives us, nor does what it started.

Each leads a process group of its own, of which nothing is left when it has ended. Never lets a
signal that ends us leave them behind, except SIGKILL, which nobody hears.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Final, NoReturn, Self

# Seconds in which a test run ends its servers and a worker what it is at.
GRACE_SECONDS: Final = 30.0

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody wants us to end. Like KeyboardInterrupt, it is no error to recover from."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code: int = 128 + number


@contextmanager
def interruptible() -> Iterator[None]:
    """Each signal that would end us raises `Interrupted` instead, in the main thread."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class Children:
    """Whom to end when we are told to end; threads may start some at the same time."""

    directory: Path
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_over: bool = False

    def run(self, command: Sequence[str | Path], *, output: Path | None = None) -> int:
        """Its exit code, once it has ended and all that it started is gone.

        Writes where we do, or adds to ``output``. An `Interrupted` is passed on as Ctrl-C, and
        raised again when the child has ended.
        """
        with output.open("ab") if output else nullcontext() as file:
            child = self._start(command, file)
        try:
            # Not reaped yet: the group's id is nobody else's for as long as its leader has it.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        except Interrupted:
            with suppress(subprocess.TimeoutExpired):
                child.send_signal(signal.SIGINT)
                child.wait(GRACE_SECONDS)
            raise
        finally:
            with self._lock:
                self._running.remove(child)
                _kill(child)
        return child.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill whatever still runs; nothing is started any more."""
        with self._lock:
            self._is_over = True
            for child in self._running:
                os.killpg(child.pid, signal.SIGKILL)

    def _start(
        self, command: Sequence[str | Path], output: IO[bytes] | None
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_over:
                raise Interrupted(signal.SIGTERM)
            child = subprocess.Popen(
                command,
                cwd=self.directory,
                stdout=output,
                stderr=output and subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.append(child)
            return child


def _kill(child: subprocess.Popen[bytes]) -> None:
    """The whole group: a child that crashed may have left servers behind."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
