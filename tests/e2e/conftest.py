"""One cluster for the whole run, a namespace for every test, and a table of all cases at the end.

Where no cluster can run, tests skip with the reason; under ``CI=true`` they fail instead.
``ROLESANYWHERE_CLUSTER`` names the cluster, for those who run several at once.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import images
from tests.e2e.harness.cluster import Cluster, Programs
from tests.support.tools import build_or_skip

NAME = os.environ.get("ROLESANYWHERE_CLUSTER", "e2e")


@pytest.fixture(scope="session")
def programs() -> Programs:
    """All that a cluster runs; built, for minutes, where no run has done so before."""
    return build_or_skip(Programs.find_or_build)


@pytest.fixture(scope="session")
def cluster(programs: Programs) -> Iterator[Cluster]:
    """A cluster whose node is Ready, shared by all tests of the run."""
    with Cluster.running(NAME, programs) as started:
        yield started


@pytest.fixture(scope="session")
def python_image(cluster: Cluster) -> str:
    """The name of an image with Python, on the node."""
    return cluster.load(build_or_skip(images.base))


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """The name of a new namespace in which pods can be made; deleted after the test."""
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "e2e-"}}
    name = cluster.kubectl(
        "create", "--filename=-", "--output=jsonpath={.metadata.name}", input=json.dumps(manifest)
    )
    cluster.kubectl(
        "wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=30s"
    )
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line per case: how long it took with all that it had to prepare, and how it went."""
    cases: dict[str, tuple[float, str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if Path(report.fspath).parent.name == Path(__file__).parent.name:
                cases[report.nodeid] = (report.duration, outcome)
    for report in terminalreporter.stats.get("", []):  # What was done before and after a case.
        if report.nodeid in cases:
            seconds, outcome = cases[report.nodeid]
            cases[report.nodeid] = (seconds + report.duration, outcome)
    if not cases:
        return
    terminalreporter.section("end to end: case, seconds, outcome")
    width = max(len(name) for name in map(_case, cases))
    for nodeid, (seconds, outcome) in cases.items():
        terminalreporter.line(f"{_case(nodeid):{width}}  {seconds:6.1f}  {outcome}")


def _case(nodeid: str) -> str:
    """A test's name as the sentence that it is."""
    return nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
