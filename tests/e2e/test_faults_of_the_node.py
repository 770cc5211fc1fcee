"""A node whose own programs die, or that goes down: pods call AWS on, or again by themselves."""

import time
from typing import Any, Final

from tests.e2e.breaking import containers, cut_power, is_ready, refusal, without
from tests.e2e.installation import NAMESPACE, Installation
from tests.e2e.teams import Team, restarts
from tests.support.waiting import eventually

# Long enough for a call of AWS on a machine that is busy with other things.
AWAY_SECONDS: Final = 15.0
RECOVERS_SECONDS: Final = 300.0

Manifest = dict[str, Any]


def test_an_app_calls_on_while_kubelet_and_container_runtime_are_away(report: Team) -> None:
    with without(report.cluster, "kubelet", "containerd"):
        since = time.time()
        time.sleep(AWAY_SECONDS)
        until = time.time()
    report.cluster.wait_until_ready()
    report.apply(report.pod("later", binding="reports"))
    report.ready("later", within=RECOVERS_SECONDS)
    told = report.answers("report", more_than=len(report.said("report")))
    assert [one for one in told if since < one["at"] < until]
    assert [one for one in told if "error" in one] == []
    assert restarts(report.get("pod/report")) == 0


def test_all_comes_up_by_itself_after_the_node_has_gone_down(
    report: Team, installed: Installation
) -> None:
    """The operator's own pods are on it too."""
    before = eventually("all are Ready", lambda: everybody(report))
    cut_power(report.cluster)
    report.cluster.wait_until_ready()
    eventually(
        "every container runs anew",
        lambda: (now := everybody(report)) and not before & now,
        within=RECOVERS_SECONDS,
    )
    told = report.answers("report")
    assert [one for one in told if "error" in one] == []
    assert len(report.sessions("reports")) == 2, "its memory has outlived the node"
    installed.wait_until_ready()
    eventually("pods are injected again", lambda: not refusal(report), within=RECOVERS_SECONDS)
    report.bind("others")
    report.bound("others")


def everybody(report: Team) -> set[str]:
    """The containers of the app and of the operator, once all are Ready; else none."""
    operators = report.cluster.kubectl.get("pods", f"--namespace={NAMESPACE}")["items"]
    pods = [report.get("pod/report"), *operators]
    if not all(is_ready(pod) for pod in pods):
        return set()
    return {one for pod in pods for one in containers(pod).values()}
