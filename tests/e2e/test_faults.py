"""Things that go wrong on a cluster, under load: what runs keeps its credentials.

Each test leaves the cluster as it found it.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import pytest

from rolesanywhere_contract.names import SIDECAR_CONTAINER
from tests.cluster.kubectl import KubectlFailed
from tests.e2e.aws import Aws
from tests.e2e.harness.cluster import Cluster
from tests.e2e.harness.configuration import CONTAINERD_SOCKET
from tests.e2e.installation import Installation
from tests.e2e.teams import Team, restarts
from tests.fakes.faults import Reset
from tests.support.waiting import eventually

CTR: Final = ("ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io")
RECOVERS_SECONDS: Final = 150.0
# Sessions as short as these are the pretended service's own: a profile has 900 seconds at least.
SESSION_SECONDS: Final = 120
OUTAGE_SECONDS: Final = SESSION_SECONDS * 2 / 3

Manifest = dict[str, Any]


@pytest.fixture
def report(team: Team) -> Team:
    """The namespace of a pod ``report`` whose app calls AWS all the time."""
    team.bind("reports")
    team.apply(team.pod("report", binding="reports"))
    team.ready("report")
    team.answers("report")
    return team


def test_a_sidecar_that_is_killed_costs_the_app_a_retry_and_aws_nothing(report: Team) -> None:
    """It is started again by the kubelet, and takes its session from the pod's memory."""
    [before] = report.sessions("reports")
    _kill(report.cluster, _containers(report.get("pod/report"))[SIDECAR_CONTAINER])
    report.when("report", lambda pod: restarts(pod) == 1 and _runs(pod), "started again")
    told = report.answers("report", more_than=len(report.said("report")) + 5)
    failed = [one for one in told if "error" in one]
    assert len(failed) <= 1, failed
    assert [one["key"] for one in told[-5:]] == [before.access_key_id] * 5
    assert report.sessions("reports") == [before]


def test_no_call_fails_while_aws_is_away_for_longer_than_half_a_session(
    team: Team, aws_services: Aws
) -> None:
    with _short_sessions(aws_services):
        team.bind("reports")
        team.apply(team.pod("report", binding="reports"))
        team.ready("report")
        started = team.answers("report")[0]["at"]
        aws_services.services.faults.always(Reset())
        time.sleep(max(0.0, started + OUTAGE_SECONDS - time.time()))
        tried = [one for one in aws_services.services.requests if isinstance(one.fault, Reset)]
        assert tried, "the sidecar has not tried to renew: the outage was no outage"
        aws_services.services.faults.clear()
        eventually("a second session", lambda: len(team.sessions("reports")) > 1, within=60)
        time.sleep(max(0.0, started + SESSION_SECONDS + 5 - time.time()))
        told = team.said("report")
    assert not [one for one in told if "error" in one]
    assert told[-1]["key"] == team.sessions("reports")[-1].access_key_id


def test_an_app_calls_on_while_the_api_server_is_killed_and_restarted(
    report: Team, installed: Installation
) -> None:
    report.cluster.restart("kube-apiserver")
    eventually("the API server answers", lambda: _answers(report.cluster), within=RECOVERS_SECONDS)
    report.cluster.wait_until_ready()
    eventually("pods are injected again", lambda: _injected(report, "after"), within=60)
    told = report.answers("report", more_than=len(report.said("report")))
    assert not [one for one in told if "error" in one]
    installed.wait_until_ready()


@contextmanager
def _short_sessions(aws: Aws) -> Iterator[None]:
    account = aws.services.account
    kept = account.world
    profiles = {
        arn: replace(one, duration_seconds=SESSION_SECONDS) for arn, one in kept.profiles.items()
    }
    account.world = replace(kept, profiles=profiles)
    try:
        yield
    finally:
        account.world = kept
        aws.services.faults.clear()


def _injected(team: Team, name: str) -> bool:
    """Whether a pod that asks would be given a sidecar now; none is made."""
    try:
        made = team.cluster.kubectl(
            "create", "--dry-run=server", "--filename=-", "--output=json",
            f"--namespace={team.namespace}", input=json.dumps(team.pod(name, binding="reports")),
        )  # fmt: skip
    except KubectlFailed:
        return False
    return SIDECAR_CONTAINER in made


def _answers(cluster: Cluster) -> bool:
    try:
        return cluster.kubectl("get", "--raw=/readyz") == "ok"
    except KubectlFailed:
        return False


def _containers(pod: Manifest) -> dict[str, str]:
    """The runtime's ID of each container, by its name."""
    status = pod["status"]
    every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return {one["name"]: one.get("containerID", "").rpartition("/")[2] for one in every}


def _runs(pod: Manifest) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _kill(cluster: Cluster, *containers: str) -> None:
    for one in containers:
        _ctr(cluster, "tasks", "kill", "--signal=SIGKILL", one)


def _ctr(cluster: Cluster, *words: str, check: bool = True) -> str:
    return subprocess.run(
        cluster.sandbox.inside([*CTR, *words]),
        capture_output=True, text=True, check=check, timeout=60,
    ).stdout  # fmt: skip
