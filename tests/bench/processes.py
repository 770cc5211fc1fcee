"""Processes as a benchmark needs them: kept to one core, weighed by ``/proc``, ended by their id.

Linux only, as the sidecar's image is.
"""

import asyncio
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.commands import Outcome

# Seconds from SIGTERM to SIGKILL.
PATIENCE_SECONDS: Final = 10.0

LONGEST_RUN_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Cores:
    """Who measures never runs where the measured one does, if there are two cores."""

    measured: int
    measuring: int

    @classmethod
    def of_this_machine(cls) -> "Cores":
        mine = sorted(os.sched_getaffinity(0))
        return cls(measured=mine[0], measuring=mine[-1])


@dataclass(frozen=True, slots=True)
class Memory:
    """In KiB: all that is resident, and this process's fair share of what it shares."""

    resident: int
    proportional: int


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This thread, and what it starts within the block, runs on ``core`` alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def started(
    command: Sequence[str | Path], env: Mapping[str, str], *, log_file: Path, core: int
) -> Iterator[subprocess.Popen[bytes]]:
    """``command`` on ``core`` with nothing but ``env``, ended with the block."""
    with log_file.open("wb") as log, on_core(core):
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def finished(command: Sequence[str | Path], env: Mapping[str, str], *, core: int) -> Outcome:
    """``command`` on ``core``, with nothing but ``env``, run to its end."""

    def run() -> Outcome:
        # A core is chosen for this thread alone, and what it starts inherits it.
        with on_core(core):
            done = subprocess.run(
                command, env=env, capture_output=True, text=True, check=False,
                timeout=LONGEST_RUN_SECONDS,
            )  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr)

    return await asyncio.to_thread(run)


def memory(pid: int) -> Memory:
    """What the process holds now (proc_pid_status(5), proc_pid_smaps(5))."""
    return Memory(
        resident=_kib(Path(f"/proc/{pid}/status"), "VmRSS:"),
        proportional=_kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss:"),
    )


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads so far (proc_pid_stat(5): utime and stime)."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _kib(path: Path, label: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(label):
            return int(line.split()[1])
    raise LookupError(f"{path} has no {label}")
