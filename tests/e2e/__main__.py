"""A cluster for developers: ``python -m tests.e2e up | down | kubectl ARGUMENTS``.

``ROLESANYWHERE_CLUSTER`` names it, for those who want several at once.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.cluster import binaries
from tests.e2e.harness import cluster
from tests.e2e.harness.building import BuildFailed
from tests.e2e.harness.cluster import Cluster, ClusterFailed, Programs
from tests.e2e.harness.sandbox import Sandbox, SandboxFailed
from tests.support.tools import ToolMissing

USAGE: Final = "usage: python -m tests.e2e up | down | kubectl ARGUMENTS"


def main(arguments: Sequence[str]) -> int:
    """Do what the first argument says; the exit code."""
    name = os.environ.get("ROLESANYWHERE_CLUSTER", "dev")
    match list(arguments):
        case ["up"]:
            return up(name)
        case ["down"]:
            return down(name)
        case ["kubectl", *words]:
            return kubectl(name, words)
        case _:
            print(USAGE, file=sys.stderr)
            return 2


def up(name: str) -> int:
    """Start the cluster in the place of any of that name."""
    try:
        programs = Programs.find_or_build()
        started = time.monotonic()
        up_now = Cluster.up(name, programs)
    except (ToolMissing, BuildFailed, SandboxFailed, ClusterFailed) as failed:
        print(failed, file=sys.stderr)
        return 1
    print(
        f"cluster {name} is up after {time.monotonic() - started:.0f} s, its files are in "
        f"{up_now.folder}\n  make kubectl ARGS='get pods --all-namespaces'\n"
        f"  {' '.join(up_now.sandbox.entering())} "
        f"env KUBECONFIG={up_now.admin_kubeconfig} helm list"
    )
    return 0


def down(name: str) -> int:
    """End the cluster, and what any killed run left of it."""
    try:
        cluster.down(name)
    except SandboxFailed as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


def kubectl(name: str, words: Sequence[str]) -> int:
    """kubectl in the cluster's network, with this terminal."""
    sandbox = Sandbox(name)
    try:
        entering = sandbox.entering()
    except SandboxFailed:
        print(f"cluster {name} does not run; start it: make cluster-up", file=sys.stderr)
        return 1
    command: list[str | Path] = [*entering, binaries.find_or_build().kubectl, *words]
    environment = {
        **os.environ,
        "KUBECONFIG": str(sandbox.folder / "admin.kubeconfig"),
        "KUBECACHEDIR": str(sandbox.folder / "kubectl"),
    }
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
