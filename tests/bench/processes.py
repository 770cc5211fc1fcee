"""Processes as a benchmark needs them: kept to one core, weighed by ``/proc``, ended by their id.

Linux only, as the sidecar's image is.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Seconds from SIGTERM to SIGKILL.
PATIENCE_SECONDS: Final = 10.0


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
    """What starts within the block runs on ``core`` alone, with all its threads."""
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
