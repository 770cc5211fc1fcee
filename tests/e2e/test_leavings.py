"""A cluster leaves nothing behind, however it ended, and the next of its name comes up.

These start clusters of their own beside the one that the other tests share.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.kubectl import PATIENCE
from tests.e2e import pods, traces
from tests.e2e.conftest import NAME
from tests.e2e.harness import cluster as clusters
from tests.e2e.harness.cluster import Cluster, Programs
from tests.e2e.harness.configuration import PAUSE_IMAGE
from tests.e2e.harness.sandbox import Sandbox
from tests.e2e.traces import Machine
from tests.support.waiting import eventually

# Gives the names of a sandbox's namespaces.
Names = Callable[[], frozenset[str]]

# Twenty on a machine that does nothing else.
COMMAND_SECONDS = 300

# Runs a cluster as a test run does, and waits to be killed.
HARNESS = """
import sys, time
from tests.e2e.harness.cluster import Cluster, Programs
with Cluster.running(sys.argv[1], Programs.find_or_build()) as cluster:
    print("up", flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Where the cluster of a test would be; ended after it, whatever the test did."""
    name = f"{NAME}-2"
    clusters.down(name)
    yield Sandbox(name)
    clusters.down(name)


@pytest.fixture
def namespaces(sandbox: Sandbox) -> Iterator[Names]:
    """Gives the names of its namespaces, which are nobody else's before the end of the test."""
    with ExitStack() as held:
        yield lambda: held.enter_context(traces.namespaces(sandbox))


@pytest.fixture
def machine(programs: Programs, sandbox: Sandbox) -> Machine:
    """The machine as it is before the test."""
    return Machine.look()


def run_a_pod(cluster: Cluster) -> None:
    """One that holds what a pod can hold of a node: a network, a volume, a Secret's mount."""
    volume = {"name": "memory", "emptyDir": {"medium": "Memory"}}
    container = {
        "name": "pause", "image": PAUSE_IMAGE, "imagePullPolicy": "Never",
        "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
    }  # fmt: skip
    cluster.apply(json.dumps(pods.pod("held", container, volumes=[volume])))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/held", PATIENCE)


def test_two_runs_in_a_row_work_and_leave_nothing(
    programs: Programs, sandbox: Sandbox, machine: Machine, namespaces: Names
) -> None:
    for _ in range(2):
        with Cluster.running(sandbox.name, programs) as cluster:
            run_a_pod(cluster)
            known = namespaces()
            assert len(traces.of(sandbox, known)) > len(cluster.commands)

        assert traces.of(sandbox, known) == []
        assert Machine.look() == machine


def test_a_run_that_is_killed_takes_its_processes_along(
    programs: Programs, sandbox: Sandbox, machine: Machine, namespaces: Names
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, sandbox.name], stdout=subprocess.PIPE, text=True
    ) as harness:
        try:
            assert harness.stdout is not None
            assert harness.stdout.readline() == "up\n"
            known = namespaces()
        finally:
            harness.kill()

    def processes() -> list[str]:
        return [one for one in traces.of(sandbox, known) if one.startswith("process")]

    eventually("its processes have ended", lambda: not processes())
    assert traces.of(sandbox, known), "its files tell why it was killed until the next run"
    clusters.down(sandbox.name)
    assert traces.of(sandbox, known) == []
    assert Machine.look() == machine


def test_a_run_that_is_killed_while_it_starts_is_cleared_by_the_next(
    programs: Programs, sandbox: Sandbox, machine: Machine, namespaces: Names
) -> None:
    command = [sys.executable, "-m", "tests.e2e", "up"]
    environment = {**os.environ, "ROLESANYWHERE_CLUSTER": sandbox.name}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as starting:
        log = sandbox.folder / "logs" / "kube-apiserver.log"
        try:
            eventually("it has started half of its programs", log.exists, within=COMMAND_SECONDS)
        finally:
            starting.kill()

    with Cluster.running(sandbox.name, programs) as cluster:
        run_a_pod(cluster)
        known = namespaces()

    assert traces.of(sandbox, known) == []
    assert Machine.look() == machine


def test_a_cluster_whose_programs_were_killed_is_taken_down_all_the_same(
    programs: Programs, sandbox: Sandbox, machine: Machine, namespaces: Names
) -> None:
    with Cluster.running(sandbox.name, programs) as cluster:
        run_a_pod(cluster)
        known = namespaces()
        for name in ("kube-apiserver", "containerd", "kubelet"):
            cluster.service(name).end(signal.SIGKILL)
        os.kill(sandbox.pid, signal.SIGKILL)

        def processes() -> list[str]:
            return [one for one in traces.of(sandbox, known) if one.startswith("process")]

        eventually("all others have ended with the first", lambda: not processes())

    assert traces.of(sandbox, known) == []
    assert Machine.look() == machine


def test_what_the_kubelet_sets_for_a_machine_is_set_for_the_cluster_alone(
    programs: Programs, sandbox: Sandbox
) -> None:
    """A kubelet wants 1, and would leave it behind."""
    sysctl = Path("/proc/sys/vm/overcommit_memory")
    before = sysctl.read_text()
    with Cluster.running(sandbox.name, programs):
        seen = subprocess.run(
            sandbox.inside(["cat", sysctl]), capture_output=True, text=True, check=True
        ).stdout
        assert seen.strip() == "1"
        assert sysctl.read_text() == before


def test_the_commands_start_a_cluster_use_it_and_end_it(
    programs: Programs, sandbox: Sandbox, machine: Machine, namespaces: Names
) -> None:
    def told(*words: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "tests.e2e", *words],
            env={**os.environ, "ROLESANYWHERE_CLUSTER": sandbox.name},
            capture_output=True, text=True, check=True, timeout=COMMAND_SECONDS,
        ).stdout  # fmt: skip

    assert told("up").startswith(f"cluster {sandbox.name} is up after ")
    known = namespaces()
    assert told("kubectl", "get", "nodes", "--output=name") == "node/node\n"
    assert told("down") == ""
    assert traces.of(sandbox, known) == []
    assert Machine.look() == machine
