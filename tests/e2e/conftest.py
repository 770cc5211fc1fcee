"""One cluster for the whole run, a namespace for every test, and a table of all cases at the end.

Where several processes share the tests, each of them has a cluster.
Where no cluster can run, tests skip with the reason; under ``CI=true`` they fail instead.
``ROLESANYWHERE_CLUSTER`` begins the cluster's name, for those who run several at once.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.binaries import find_or_build_helm
from tests.e2e import aws, installation
from tests.e2e.aws import Aws
from tests.e2e.harness import images
from tests.e2e.harness.cluster import Cluster, Programs
from tests.e2e.installation import Installation
from tests.e2e.notes import Notes
from tests.e2e.teams import Team, a_namespace, build_app
from tests.support.tools import build_or_skip

# Another than that of `make cluster-up`, which the run would take the place of.
NAME: Final = "-".join(
    filter(
        None,
        (os.environ.get("ROLESANYWHERE_CLUSTER"), "e2e", os.environ.get("PYTEST_XDIST_WORKER")),
    )
)
# What was measured, a line each, for the end of the run.
NOTES: Final = pytest.StashKey[Notes]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOTES] = Notes()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What was installed is judged first: later tests kill it, and its restarts would tell."""
    items.sort(key=lambda item: item.path.name != "test_installation.py")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that shares the tests gives its notes to the one that prints them."""
    if output := getattr(session.config, "workeroutput", None):
        output["notes"] = [*session.config.stash[NOTES]]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take them; one that has crashed gives none."""
    node.config.stash[NOTES].extend(getattr(node, "workeroutput", {}).get("notes", ()))


@pytest.fixture(scope="session")
def notes(request: pytest.FixtureRequest) -> Notes:
    """Lines for the end of the run: what was measured and is nobody's duty."""
    return request.config.stash[NOTES]


@pytest.fixture(scope="session")
def programs() -> Programs:
    """All that a cluster runs; built, for minutes, where no run has done so before."""
    return build_or_skip(Programs.find_or_build)


@pytest.fixture(scope="session")
def cluster(programs: Programs, notes: Notes) -> Iterator[Cluster]:
    """A cluster whose node is Ready, shared by all tests of the run."""
    with ExitStack() as stack:
        with notes.stage("until the node is Ready"):
            started = stack.enter_context(Cluster.running(NAME, programs))
        yield started


@pytest.fixture(scope="session")
def python_image(cluster: Cluster) -> str:
    """The name of an image with Python, on the node."""
    return cluster.load(build_or_skip(images.base))


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """The name of a new namespace in which pods can be made; deleted after the test."""
    with a_namespace(cluster, enforce="") as name:
        yield name


@pytest.fixture(scope="session")
def aws_services(cluster: Cluster) -> Iterator[Aws]:
    """AWS, as far as pods meet it; shared by all tests of the run."""
    with aws.serving(cluster) as served:
        yield served


@pytest.fixture(scope="session")
def app_image(cluster: Cluster) -> str:
    """The name of an image with AWS's SDK and command line, on the node."""
    return cluster.load(build_or_skip(build_app))


@pytest.fixture(scope="session")
def installed(cluster: Cluster, notes: Notes) -> Installation:
    """The operator, by Helm; shared by all tests of the run, which leave it as they found it."""
    helm = build_or_skip(find_or_build_helm)
    for target in installation.IMAGES.values():
        build_or_skip(lambda target=target: images.project(target))  # type: ignore[misc]  # mypy has no type for it
    with notes.stage("to bring the images to the node"):
        installation.load_images(cluster)
    operator = installation.in_cluster(cluster, helm)
    with notes.stage("until webhook and controller are Ready, by helm install"):
        operator.install()
    return operator


@pytest.fixture
def teams(
    cluster: Cluster, installed: Installation, aws_services: Aws, app_image: str
) -> Iterator[Callable[..., Team]]:
    """Makes namespaces, ``teams(enforce="privileged")``; they are deleted after the test."""
    with ExitStack() as stack:

        def make(enforce: str = "restricted") -> Team:
            name = stack.enter_context(a_namespace(cluster, enforce=enforce))
            return Team(cluster, aws_services, name, app_image)

        yield make


@pytest.fixture
def team(teams: Callable[..., Team]) -> Team:
    """A namespace that enforces Pod Security restricted, in a cluster with the operator."""
    return teams()


@pytest.fixture
def report(team: Team) -> Team:
    """The same, with a pod ``report`` whose app calls AWS all the time."""
    team.report()
    return team


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What was measured, and a line per case: how long it took with all that it had to prepare."""
    if measured := config.stash[NOTES]:
        terminalreporter.section("end to end: measured")
        for line in measured:
            terminalreporter.line(line)
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
