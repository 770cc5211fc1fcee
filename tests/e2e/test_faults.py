"""Things that go wrong around running pods: what runs keeps its credentials, and nobody is refused.

Each test leaves the cluster as it found it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import pytest

from rolesanywhere_contract.names import SIDECAR_CONTAINER
from tests.cluster.kubectl import KubectlFailed
from tests.e2e import workloads
from tests.e2e.aws import Aws
from tests.e2e.breaking import containers, is_ready, kill, meanwhile, refusal
from tests.e2e.harness.cluster import Cluster
from tests.e2e.installation import Installation
from tests.e2e.teams import IDLE, PATIENT, Team, restarts
from tests.fakes.faults import Reset
from tests.support.waiting import eventually

RECOVERS_SECONDS: Final = 300.0
# Sessions as short as these are the pretended service's own: a profile has 900 seconds at least.
SESSION_SECONDS: Final = 120
OUTAGE_SECONDS: Final = SESSION_SECONDS * 2 / 3

# Enough for a sidecar, and too little for one whose pod's shared memory, 64 MiB, is full.
NARROW: Final = {"resources": {"limits": {"memory": "80Mi"}}}
FILL: Final = """
with open("/dev/shm/full", "wb", buffering=0) as file:
    while True:
        file.write(bytes(65536))
"""

# Who ask at the same time whether a pod would be injected, and pods that one asks for in a row.
CALLERS: Final = 4
PODS_IN_A_ROW: Final = 10

Manifest = dict[str, Any]


def kill_sidecar(team: Team) -> None:
    """As somebody does who is on the node."""
    kill(team.cluster, containers(team.get("pod/report"))[SIDECAR_CONTAINER])


def exhaust_sidecar(team: Team) -> None:
    """Fill its container's memory; the largest process there is the sidecar's own."""
    with suppress(KubectlFailed):  # The command dies with its container.
        team.cluster.execute(
            "report", "python3", "-c", FILL,
            namespace=team.namespace, container=SIDECAR_CONTAINER,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("end", "reason"),
    [(kill_sidecar, "Error"), (exhaust_sidecar, "OOMKilled")],
    ids=["by-a-signal", "for-want-of-memory"],
)
def test_a_sidecar_that_is_killed_costs_the_app_a_retry_and_aws_nothing(
    team: Team, end: Callable[[Team], None], reason: str
) -> None:
    """It is started again by the kubelet, and takes its session from the pod's memory.

    In the seconds until then nobody answers: this one app has the retries that its SDK comes with.
    """
    team.report(PATIENT, sidecar=NARROW)
    [before] = team.sessions("reports")
    end(team)
    pod = team.when("report", lambda seen: restarts(seen) == 1 and is_ready(seen), "started again")
    assert ended_for(pod) == reason
    told = team.answers("report", more_than=len(team.said("report")) + 5)
    failed = [one for one in told if "error" in one]
    assert len(failed) <= 1, failed
    assert [one["key"] for one in told[-5:]] == [before.access_key_id] * 5
    assert team.sessions("reports") == [before]


def test_no_call_fails_while_aws_is_away_for_longer_than_half_a_session(
    team: Team, aws_services: Aws
) -> None:
    with short_sessions(aws_services):
        team.report()
        [session] = team.sessions("reports")
        ends = session.session.expires.timestamp()
        asked = len(aws_services.services.requests)
        since = time.time()
        aws_services.services.faults.always(Reset())
        time.sleep(OUTAGE_SECONDS)
        aws_services.services.faults.clear()
        until = time.time()
        assert until - since > SESSION_SECONDS / 2
        assert until < ends, "the outage has outlived the session"
        tried = aws_services.tries(team.subject("reports"), since=asked)
        assert [one for one in tried if one.fault == Reset()]
        eventually("a second session", lambda: len(team.sessions("reports")) > 1, within=60)
        time.sleep(max(0.0, ends + 5 - time.time()))
        told = team.said("report")
    assert [one for one in told if since < one["at"] < until]
    assert not [one for one in told if "error" in one]
    assert told[-1]["key"] == team.sessions("reports")[-1].access_key_id


def test_an_app_calls_on_while_the_api_server_is_killed_and_restarted(
    report: Team, installed: Installation
) -> None:
    report.cluster.restart("kube-apiserver")
    since = time.time()
    eventually("the API server answers", lambda: answers(report.cluster), within=RECOVERS_SECONDS)
    until = time.time()
    report.cluster.wait_until_ready()
    eventually("pods are injected again", lambda: not refusal(report), within=RECOVERS_SECONDS)
    told = report.answers("report", more_than=len(report.said("report")))
    assert [one for one in told if since < one["at"] < until]
    assert not [one for one in told if "error" in one]
    installed.wait_until_ready()


def test_without_webhooks_who_asks_waits_and_nobody_else(
    team: Team, installed: Installation
) -> None:
    team.bind("reports")
    plain = team.pod("plain", team.app("app", *IDLE), binding="")
    del plain["metadata"]["annotations"]
    with installed.without("webhook"):
        eventually(
            "no webhook is left", lambda: not installed.pods("webhook"), within=RECOVERS_SECONDS
        )
        team.apply(workloads.deployment(team, "asking"), plain)
        eventually(
            "the ReplicaSet is refused",
            lambda: refused_for_webhook(team),
            within=RECOVERS_SECONDS,
        )
        team.ready("plain")
        assert workloads.pods_of(team, "asking") == []
    installed.wait_until_ready()
    [told] = workloads.heard(team, "asking")
    assert told["by"] == workloads.BY_ENDPOINT


def test_no_pod_is_refused_while_webhooks_are_killed(report: Team, installed: Installation) -> None:
    """One, and when it is back one of the other half: the kubelet has to notice each of them."""
    with ExitStack() as asking:
        asked = [asking.enter_context(meanwhile(lambda: refusal(report))) for _ in range(CALLERS)]
        for half in ("first", "second"):
            time.sleep(3)
            kill_webhook(installed, half)
        eventually("they have asked often", lambda: sum(map(len, asked)) > 20, within=120)
    refusals = [one for answers in asked for one in answers]
    assert [one for one in refusals if one] == []


def test_bindings_are_kept_true_after_the_leading_controller_is_killed(
    team: Team, installed: Installation
) -> None:
    leader, pod = eventually("somebody leads", lambda: leading(installed))
    kill(team.cluster, *containers(pod).values())
    team.bind("reports")
    team.bound("reports")
    assert installed.leader() not in {"", leader}
    installed.wait_until_ready()


def test_no_pod_is_refused_and_no_call_fails_while_the_chart_is_upgraded(
    report: Team, installed: Installation
) -> None:
    before = names(installed)
    since = time.time()
    with meanwhile(lambda: refusal(report, of=PODS_IN_A_ROW)) as refusals:
        try:
            installed.upgrade({"logLevel": "debug"})
            between = names(installed)
        finally:
            installed.upgrade()
        eventually("it was asked often", lambda: len(refusals) > 20, within=120)
    until = time.time()
    after = names(installed)
    assert not before & between
    assert not between & after
    assert [one for one in refusals if one] == []
    told = report.answers("report", more_than=len(report.said("report")))
    assert [one for one in told if since < one["at"] < until]
    assert not [one for one in told if "error" in one]
    assert restarts(report.get("pod/report")) == 0


@contextmanager
def short_sessions(aws: Aws) -> Iterator[None]:
    """AWS grants sessions of `SESSION_SECONDS`, and whatever fails there is mended afterwards."""
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


def answers(cluster: Cluster) -> bool:
    """Whether the API server is up."""
    try:
        return cluster.kubectl("get", "--raw=/readyz") == "ok"
    except KubectlFailed:
        return False


def ended_for(pod: Manifest) -> str:
    """Why the sidecar's run before this one has ended, in the kubelet's word."""
    [status] = [
        one for one in pod["status"]["initContainerStatuses"] if one["name"] == SIDECAR_CONTAINER
    ]
    return str(status["lastState"]["terminated"]["reason"])


def refused_for_webhook(team: Team) -> list[str]:
    """What those who make pods were told of a webhook that is away."""
    return [
        one["message"]
        for one in team.get("events", "--field-selector=reason=FailedCreate")["items"]
        if "inject.rolesanywhere.dev" in one["message"]
    ]


def leading(installed: Installation) -> tuple[str, Manifest] | None:
    """Who leads, and its pod; None in the moments after another one's end."""
    leader = installed.leader()
    pods = [one for one in installed.pods("controller") if one["metadata"]["name"] in leader]
    return (leader, pods[0]) if pods else None


def kill_webhook(installed: Installation, half: str) -> None:
    """End the one of that half, and return when it is back."""
    before = webhook(installed, half)
    kill(installed.cluster, containers(before)["webhook"])

    def is_back() -> bool:
        now = webhook(installed, half)
        return is_ready(now) and restarts(now, "webhook") > restarts(before, "webhook")

    eventually("it is back", is_back, within=RECOVERS_SECONDS)


def webhook(installed: Installation, half: str) -> Manifest:
    """The webhook's pod in that half."""
    label = "rolesanywhere.dev/half"
    [pod] = [one for one in installed.pods("webhook") if one["metadata"]["labels"][label] == half]
    return pod


def names(installed: Installation) -> set[str]:
    """The webhook's pods."""
    return {one["metadata"]["name"] for one in installed.pods("webhook")}
