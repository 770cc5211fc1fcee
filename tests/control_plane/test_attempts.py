"""A review is put to anyone, and then to each half of the replicas, until one answers.

What the API server makes of the chart's conditions, and of attempts that nobody answers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.cluster.kubectl import KubectlFailed
from tests.cluster.programs import Program
from tests.cluster.release import Release
from tests.control_plane.conftest import MakeRelease
from tests.control_plane.teams import Team
from tests.operator.builders import IMAGE, a_container, a_pod
from tests.support.waiting import eventually

ANYONE, FIRST, SECOND = "inject", "first-half", "second-half"
MARK: Final = "rolesanywhere.dev/injected"

Pod = dict[str, Any]


@pytest.fixture(scope="module")
def release(releases: MakeRelease) -> Release:
    return releases("attempts-tests")


@pytest.fixture(scope="module")
def webhook(release: Release) -> Iterator[Program]:
    with release.webhook(sidecar_image=IMAGE) as started:
        eventually("the webhook is ready", lambda: started.is_ready)
        yield started


@dataclass(frozen=True)
class Audience(Team):
    """Users of one namespace with a binding, and what the webhook heard of their pods."""

    release: Release
    webhook: Program

    def verdict(self, pod: Pod) -> str:
        """What becomes of ``pod``: injected, uninjected, or the reason of the refusal."""
        try:
            made = self.create(pod, "--dry-run=server")
        except KubectlFailed as refused:
            return str(refused).partition("(")[2].partition(")")[0]
        return "injected" if sidecars(made) == [IMAGE] else f"uninjected: {sidecars(made)}"

    def decided(self) -> list[str]:
        """What was decided of the namespace's pods, one by one."""
        lines = self.webhook.lines("admission")
        return [line["decision"] for line in lines if line["namespace"] == self.namespace]

    @contextmanager
    def called(self, *lost: str) -> Iterator[None]:
        """Have the webhook called, but for the attempts that are ``lost``."""
        with self.release.called(self.webhook, lost=lost):
            # Every API server takes a moment to hear of it; by then such a pod is refused.
            eventually(
                "it is heard of", lambda: self.verdict(a_pod(inject="perhaps")) != "uninjected: []"
            )
            yield


def sidecars(pod: Pod) -> list[str]:
    """The images of its containers of our name."""
    containers = pod["spec"].get("initContainers", ())
    return [one["image"] for one in containers if one["name"] == "rolesanywhere-sidecar"]


@pytest.fixture
def team(release: Release, webhook: Program, namespace: str) -> Audience:
    users = Audience(release.control_plane, namespace, release, webhook)
    users.bind()
    return users


def test_who_was_answered_is_not_asked_about_by_the_attempts_that_follow(team: Audience) -> None:
    with team.called():
        before = len(team.decided())
        team.create(a_pod())
        assert team.decided()[before:] == ["inject"]
        before = len(team.decided())
        assert team.verdict(a_pod(hostNetwork=True)) == "HostNetwork"
        assert team.decided()[before:] == ["refuse"]


def test_who_opted_out_is_not_asked_about_at_all(team: Audience) -> None:
    with team.called():
        before = len(team.decided())
        assert team.verdict(a_pod(inject="false")) == "uninjected: []"
        assert team.decided()[before:] == []
        both = a_pod(inject="false", annotations={"rolesanywhere.dev/binding": "reports"})
        assert team.verdict(both) == "ContradictoryAnnotations"
    with team.called(ANYONE, FIRST, SECOND):
        assert team.verdict(a_pod(inject="false")) == "uninjected: []"


@pytest.mark.parametrize("lost", [[ANYONE], [ANYONE, FIRST], [ANYONE, SECOND]], ids=" ".join)
def test_a_review_that_was_lost_is_put_to_the_next(team: Audience, lost: list[str]) -> None:
    with team.called(*lost):
        before = len(team.decided())
        assert team.verdict(a_pod()) == "injected", "in a dry run"
        assert team.decided()[before:] == ["inject"]
        assert team.verdict(a_pod(hostNetwork=True)) == "HostNetwork"
        assert sidecars(team.create(a_pod())) == [IMAGE]


def test_who_asks_and_whom_nobody_answers_is_refused(team: Audience) -> None:
    with team.called(ANYONE, FIRST, SECOND):
        with pytest.raises(KubectlFailed) as caught:
            team.create(a_pod())
        told = 'failed calling webhook "second-half.inject.rolesanywhere.dev"'
        assert told in str(caught.value)
        assert team.verdict(a_pod(inject=None)) == "uninjected: []"


def an_injected(team: Audience) -> Pod:
    """A pod that was injected, as somebody reads it back to make another of it."""
    with team.called():
        made = team.create(a_pod(), "--dry-run=server")
    metadata = {key: made["metadata"][key] for key in ("annotations", "labels")}
    return {
        "apiVersion": "v1", "kind": "Pod", "spec": made["spec"],
        "metadata": {**metadata, "name": "copy"},
    }  # fmt: skip


def forged(copy: Pod, **sidecar: Any) -> Pod:
    """``copy`` with something else in its sidecar; None takes the field away."""
    pod = deepcopy(copy)
    [ours] = pod["spec"]["initContainers"]
    ours |= sidecar
    for name in [name for name, value in sidecar.items() if value is None]:
        del ours[name]
    return pod


def test_whoever_forges_our_mark_is_judged_as_ever_when_a_review_is_lost(team: Audience) -> None:
    copy = an_injected(team)
    [ours] = copy["spec"]["initContainers"]
    mark = {MARK: copy["metadata"]["annotations"][MARK]}
    others = [one for one in ours["volumeMounts"] if one["name"] != "rolesanywhere-identity"]
    elsewhere = [
        one | ({"mountPath": "/x"} if one["name"] == "rolesanywhere-token" else {})
        for one in ours["volumeMounts"]
    ]
    pods = {
        "the copy": copy,
        "the mark alone": a_pod(annotations=mark),
        "nonsense for a mark": a_pod(annotations={MARK: "yes"}),
        "init containers of its own": a_pod(annotations=mark, initContainers=[a_container("x")]),
        "a container that ends": forged(copy, restartPolicy=None),
        "another command": forged(copy, args=["sleep", "9"]),
        "no command": forged(copy, args=None),
        "no identity": forged(copy, volumeMounts=others),
        "another place for the token": forged(copy, volumeMounts=elsewhere),
        "no volumes": forged(copy, volumeMounts=None),
        "another name": forged(copy, name="sidecar"),
    }
    with team.called():
        as_ever = {what: team.verdict(pod) for what, pod in pods.items()}
    with team.called(ANYONE, FIRST):
        assert {what: team.verdict(pod) for what, pod in pods.items()} == as_ever
    assert as_ever["the mark alone"] == "injected"
    assert as_ever["another command"] == "NameTaken"
