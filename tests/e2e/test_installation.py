"""The chart by Helm on a real node, and the first pod with credentials."""

from tests.e2e.installation import Installation
from tests.e2e.notes import Notes
from tests.e2e.teams import Team, restarts


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
    notes.seconds(sum(notes.stages), "in all, from no cluster to a pod with credentials")
    [session] = team.sessions("reports")
    assert first == {**first, "arn": session.session.assumed_role_arn}
