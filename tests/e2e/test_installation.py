"""The chart by Helm on a real node, and the first pod with credentials."""

import shlex
from pathlib import Path
from typing import Final

from tests.e2e.installation import Installation
from tests.e2e.notes import Notes
from tests.e2e.teams import Team, restarts
from tests.fakes.world import ACCOUNT

DOCS: Final = Path(__file__).parents[2] / "docs"
DOCTOR: Final = (
    "kubectl exec POD -c rolesanywhere-sidecar -- python3 -m rolesanywhere_sidecar doctor"
)


def test_the_operators_own_pods_are_ready_in_a_restricted_namespace(
    installed: Installation,
) -> None:
    for component in ("webhook", "controller"):
        running = installed.pods(component)
        assert len(running) == 2
        found = installed.deployments(component).values()
        assert sum(one["status"]["readyReplicas"] for one in found) == 2
        assert [restarts(pod, pod["spec"]["containers"][0]["name"]) for pod in running] == [0, 0]


def test_a_pod_that_asks_calls_aws_by_its_certificate_from_the_start(
    team: Team, notes: Notes
) -> None:
    team.bind("reports")
    team.bound("reports")
    with notes.stage("from a pod's creation until AWS has told its app who it is"):
        team.apply(team.pod("report", binding="reports"))
        first = team.answers("report")[0]
    notes.sum_up("in all, from no cluster to a pod with credentials")
    [session] = team.sessions("reports")
    assert first == {**first, "arn": session.session.assumed_role_arn}


def test_doctor_as_the_pages_print_it_finds_nothing_wrong_in_a_pod(report: Team) -> None:
    for page in ("troubleshooting.md", "behind-a-proxy.md"):
        assert DOCTOR in (DOCS / page).read_text()
    command = shlex.split(DOCTOR.replace("POD", "report"))[1:]
    said = report.cluster.kubectl(f"--namespace={report.namespace}", *command)
    assert f"create-session: account {ACCOUNT} granted a session" in said
    assert said.endswith(" ok, 0 warning, 0 failure, 0 skipped\n")
