"""The control groups of one cluster: a branch of its own in every tree, and its end.

kubelet makes groups below it and, when it is killed, leaves them behind. Knows both layouts: a tree
for each controller (v1), and one for all (v2).
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

MOUNT: Final = Path("/sys/fs/cgroup")
# What a kubelet asks for.
CONTROLLERS: Final = ("cpu", "cpuset", "memory", "pids")
# Killed processes leave their groups within milliseconds, on an idle machine.
REMOVAL_SECONDS: Final = 20.0


def trees(mount: Path = MOUNT) -> list[Path]:
    """The mount points below which processes are grouped."""
    if (mount / "cgroup.controllers").exists():
        return [mount]
    # A controller may have several names, as links to one mount.
    return sorted({path.resolve() for path in mount.iterdir() if (path / "cgroup.procs").exists()})


def make(name: str, mount: Path = MOUNT) -> None:
    """A branch called ``name`` in every tree. Raises ``OSError`` where that is not allowed."""
    for tree in trees(mount):
        if tree == mount:
            _hand_down(tree)
        branch = tree / name
        branch.mkdir(exist_ok=True)
        if tree == mount:
            _hand_down(branch)
        # A new group of this controller is empty, and takes no process before it is filled.
        for resource in ("cpuset.cpus", "cpuset.mems"):
            if tree != mount and (branch / resource).exists():
                (branch / resource).write_text((tree / resource).read_text())


def branches(name: str, mount: Path = MOUNT) -> list[Path]:
    """Those that there are."""
    return [tree / name for tree in trees(mount) if (tree / name).is_dir()]


def remove(name: str, mount: Path = MOUNT) -> None:
    """The branch, with all below it, from every tree. Raises ``OSError`` if it stays in use."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    for branch in branches(name, mount):
        while True:
            try:
                _remove_tree(branch)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def _remove_tree(branch: Path) -> None:
    with suppress(FileNotFoundError):
        for child in branch.iterdir():
            if child.is_dir():
                _remove_tree(child)
        branch.rmdir()


def _hand_down(group: Path) -> None:
    """Let the groups below ``group`` be limited too (v2)."""
    wanted = " ".join(f"+{name}" for name in CONTROLLERS)
    (group / "cgroup.subtree_control").write_text(wanted)
