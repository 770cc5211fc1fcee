"""Breaking a cluster on purpose: its containers, its node's programs, its node's memory.

What is broken for the length of a block is whole, or on its way to be, after it.
"""

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rolesanywhere_contract.names import SIDECAR_CONTAINER
from tests.cluster.kubectl import KubectlFailed
from tests.e2e import pods
from tests.e2e.harness.cluster import Cluster
from tests.e2e.harness.configuration import CTR
from tests.e2e.teams import Team
from tests.support.waiting import eventually

# Volumes in memory: those of medium Memory, and all Secrets and tokens.
FORGET: Final = """
awk '$3 == "tmpfs" && $2 ~ "^/var/lib/kubelet/pods/" {print $2}' /proc/mounts | xargs -r umount
"""
PAUSE_SECONDS: Final = 0.2

Manifest = dict[str, Any]


def containers(pod: Manifest) -> dict[str, str]:
    """The runtime's id of each container that runs or ran last, by its name."""
    status = pod["status"]
    every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return {one["name"]: one.get("containerID", "").rpartition("/")[2] for one in every}


def is_ready(pod: Manifest) -> bool:
    """Whether the kubelet has said so."""
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def kill(cluster: Cluster, *ids: str) -> None:
    """End containers, or whole pods' sandboxes, as the kernel would."""
    for one in ids:
        _ctr(cluster, "tasks", "kill", "--signal=SIGKILL", one)


@contextmanager
def without(cluster: Cluster, *names: str) -> Iterator[None]:
    """Programs of the node are killed for the length of the block; the last is back first."""
    for name in names:
        cluster.service(name).end(signal.SIGKILL)
    try:
        yield
    finally:
        for name in reversed(names):
            cluster.start(name)
            eventually("containerd answers", cluster.runtime_answers)


def cut_power(cluster: Cluster) -> None:
    """Every container dies at once, and what was in memory is gone; then the node boots."""
    with without(cluster, "kubelet"):
        for task in _ctr(cluster, "tasks", "list", "--quiet").split():
            # Some are gone with the one that was killed before them.
            _ctr(cluster, "tasks", "kill", "--signal=SIGKILL", task, check=False)
        with without(cluster, "containerd"):
            subprocess.run(cluster.sandbox.inside(["sh", "-c", FORGET]), check=True, timeout=60)


@contextmanager
def meanwhile(ask: Callable[[], str]) -> Iterator[list[str]]:
    """What ``ask`` has answered, again and again, for the length of the block."""
    answers: list[str] = []
    ending = threading.Event()

    def go() -> None:
        while not ending.wait(PAUSE_SECONDS):
            answers.append(ask())

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield answers
    finally:
        ending.set()
        thread.join()


def refusal(team: Team, *, of: int = 1) -> str:
    """Why one ``of`` so many pods that ask would get no sidecar now, if so; none is made."""
    asking = pods.items(*(team.pod(f"probe-{n}", binding="reports") for n in range(of)))
    try:
        made = team.cluster.kubectl(
            "create", "--dry-run=server", "--filename=-", f"--namespace={team.namespace}",
            r"--output=jsonpath={.spec.initContainers[0].name}{'\n'}", input=json.dumps(asking),
        )  # fmt: skip
    except KubectlFailed as failed:
        return str(failed)
    return "" if made.split() == [SIDECAR_CONTAINER] * of else "one would start without a sidecar"


def _ctr(cluster: Cluster, *words: str, check: bool = True) -> str:
    return subprocess.run(
        cluster.sandbox.inside([*CTR, *words]),
        capture_output=True, text=True, check=check, timeout=60,
    ).stdout  # fmt: skip
