"""What a cluster could leave on the machine: looked for everywhere, whatever the harness says."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.e2e.harness import cgroups, configuration
from tests.e2e.harness.sandbox import CLUSTERS, Sandbox

PROC: Final = Path("/proc")
NAMESPACES: Final = ("pid", "net", "mnt")
FOLDERS: Final = (
    "/opt/containerd", "/run/containerd", "/usr/libexec/kubernetes", "/run/netns", "/etc/cni/net.d",
)  # fmt: skip
# Settings of the kernel that change by themselves, or only take orders.
RESTLESS: Final = ("kernel/ns_last_pid", "kernel/perf_", "kernel/pty/", "kernel/random/", "vm/stat")


@dataclass(frozen=True, slots=True)
class Machine:
    """What of the machine a node could change; equal when nothing has changed."""

    sysctls: tuple[tuple[str, str], ...]
    links: str
    packet_filters: str
    folders: tuple[str, ...]

    @classmethod
    def look(cls) -> Self:
        return cls(
            sysctls=tuple(_sysctls()),
            links=_told("ip", "-brief", "link"),
            packet_filters=_told("iptables-save"),
            folders=tuple(_folders()),
        )


def _folders() -> Iterator[str]:
    """Those that a node writes to, as far as there are any, with all that they hold."""
    for folder in map(Path, (*configuration.PLAN.folders, *FOLDERS)):
        # While there is a cluster, whosoever, its mount points are no traces; what they hold is.
        if folder.exists() and not (
            CLUSTERS.exists() and str(folder) in configuration.PLAN.folders
        ):
            yield str(folder)
        yield from sorted(map(str, folder.rglob("*")))


def _sysctls() -> Iterator[tuple[str, str]]:
    """All that concern the whole machine, whoever changes them."""
    sysctls = PROC / "sys"
    for path in sorted([*(sysctls / "kernel").rglob("*"), *(sysctls / "vm").rglob("*")]):
        name = str(path.relative_to(sysctls))
        if path.is_file() and not name.startswith(RESTLESS):
            with suppress(OSError):  # It only takes orders.
                yield name, path.read_text()


@contextmanager
def namespaces(sandbox: Sandbox) -> Iterator[frozenset[str]]:
    """The names of its namespaces, held so that the kernel gives them to no others after it."""
    first = PROC / str(sandbox.pid)
    with ExitStack() as held:
        for name in NAMESPACES:
            held.enter_context((first / "ns" / name).open("rb"))
        yield frozenset(_namespaces_of(first))


def of(sandbox: Sandbox, known: frozenset[str] = frozenset()) -> list[str]:
    """Processes in ``known`` namespaces or that name its folder, mounts, groups, and files."""
    folder = str(sandbox.folder)
    found = [f"process {one.name}: {_command(one)}" for one in _processes(folder, known)]
    mounts = (PROC / "self" / "mountinfo").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if folder in line]
    found += [f"control group {one}" for one in cgroups.branches(sandbox.cgroup)]
    return found + ([f"folder {folder}"] if sandbox.folder.exists() else [])


def _processes(folder: str, known: frozenset[str]) -> Iterator[Path]:
    for process in PROC.glob("[0-9]*"):
        with suppress(OSError):  # It has ended meanwhile.
            if folder in _command(process) or known & set(_namespaces_of(process)):
                yield process


def _command(process: Path) -> str:
    with suppress(OSError):
        return (process / "cmdline").read_text().replace("\0", " ")
    return ""


def _namespaces_of(process: Path) -> Iterator[str]:
    for name in NAMESPACES:
        yield str((process / "ns" / name).readlink())


def _told(*command: str) -> str:
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Counters and dates are in brackets and comments.
    kept = [line.partition("[")[0] for line in said.splitlines() if not line.startswith("#")]
    return "\n".join(kept)
