"""One server process of a test cluster: its log, its end.

Never finds a process by name: what was started here is ended here, by its own id.
"""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TAIL_LINES: Final = 15


@dataclass(frozen=True, slots=True)
class Process:
    """A running program that writes all its output to ``log``."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.popen.poll()

    def tail(self) -> str:
        """The last lines of the log, for the reader of a failure."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:]) or "(its log is empty)"


@contextmanager
def running(
    command: Sequence[str | Path], *, logs: Path, env: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run ``command`` for the length of the block, with its log in the folder ``logs``.

    It has ``env`` alone, or ours where none is given. It stays in our process group, so that
    Ctrl-C reaches it even when we are killed before the end.
    """
    name = Path(command[0]).name
    log = logs / f"{name}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            command, env=env,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield Process(name, popen, log)
    finally:
        # At once: nothing it holds is worth saving, and one that is still starting ignores a
        # polite request for longer than anybody waits.
        popen.kill()
        popen.wait()
