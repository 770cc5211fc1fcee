"""The webhook as a process of its own, with the chart's permissions, called by a real API server.

Only the address is not the chart's: the API server of these tests knows no Services.
"""

import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import KubectlFailed
from tests.cluster.programs import Program
from tests.cluster.release import Release
from tests.control_plane.conftest import MakeRelease
from tests.control_plane.teams import RESTRICTED, Team, enforce
from tests.operator.builders import IMAGE, a_container, a_pod
from tests.support.waiting import PATIENCE_SECONDS, eventually

ROOT: Final = Path(__file__).parents[2]
OUTAGE: Final = "cannot follow the API server, keeping what is known"


@pytest.fixture(scope="module")
def release(releases: MakeRelease) -> Release:
    """The chart's account for the webhook, in a namespace of its own."""
    return releases("webhook-tests")


@pytest.fixture(scope="module")
def webhook(release: Release) -> Iterator[Program]:
    """One webhook for the tests that share it."""
    with release.serving(sidecar_image=IMAGE) as started:
        yield started


@pytest.fixture
def team(webhook: Program, release: Release, namespace: str) -> Team:
    """A namespace of users, who know nothing of the webhook but what it does to their pods."""
    return Team(release.control_plane, namespace)


def is_injected(pod: dict[str, Any]) -> bool:
    return any(
        container["name"] == "rolesanywhere-sidecar"
        for container in pod["spec"].get("initContainers", ())
    )


def admissions(webhook: Program, namespace: str) -> list[dict[str, Any]]:
    """What the webhook was asked of pods of ``namespace``."""
    return [line for line in webhook.lines("admission") if line["namespace"] == namespace]


def test_a_pod_that_asks_is_injected(team: Team) -> None:
    team.bind()
    pod = team.create(a_pod(initContainers=[a_container("setup")]))
    sidecar, setup = pod["spec"]["initContainers"]
    assert (sidecar["name"], sidecar["image"]) == ("rolesanywhere-sidecar", IMAGE)
    assert sidecar["restartPolicy"] == "Always"
    assert setup["name"] == "setup"
    assert pod["metadata"]["labels"]["rolesanywhere.dev/binding"] == "reports"
    env = {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}
    assert env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] == "http://127.0.0.1:9911/v1/credentials"


@pytest.mark.parametrize("page", ["docs/chart.md", "charts/rolesanywhere/templates/NOTES.txt"])
def test_one_line_tells_whether_the_api_server_reaches_it(team: Team, page: str) -> None:
    [line] = re.findall(r"kubectl (-n default run probe .*)", (ROOT / page).read_text())
    with pytest.raises(KubectlFailed, match="MalformedAnnotation"):
        team.control_plane.kubectl(*shlex.split(line))
    with pytest.raises(KubectlFailed, match="not found"):
        team.control_plane.kubectl("-n", "default", "get", "pod", "probe")


def test_a_binding_serves_the_very_next_pod(team: Team) -> None:
    # Faster than any watch: what the copy has not heard of is read.
    for turn in range(3):
        team.bind(f"quick-{turn}", podSelector={"matchLabels": {"turn": str(turn)}})
        pod = a_pod(labels={"turn": str(turn)})
        pod["metadata"]["name"] = f"pod-{turn}"
        assert is_injected(team.create(pod))


def test_a_deployments_pod_is_injected(team: Team) -> None:
    team.bind()
    template = a_pod(labels={"app": "reports"})
    del template["apiVersion"], template["kind"], template["metadata"]["name"]
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "reports"},
        "spec": {"selector": {"matchLabels": {"app": "reports"}}, "template": template},
    }
    team.create(deployment)

    def its_pods() -> Any:
        here = f"--namespace={team.namespace}"
        return team.control_plane.kubectl.get("pods", here, "--selector=app=reports")["items"]

    [pod] = eventually("the Deployment has a pod", its_pods)
    assert is_injected(pod)


def test_a_restricted_pod_stays_restricted(team: Team) -> None:
    enforce(team.control_plane, team.namespace, "restricted")
    team.bind()
    assert "violates PodSecurity" in team.refusal_of(a_pod()), "the namespace is not restricted"
    assert is_injected(team.create(a_pod(a_container(**RESTRICTED))))


def test_the_sidecar_is_kept_from_the_pods_api_token(team: Team) -> None:
    team.bind()
    spec = team.create(a_pod())["spec"]
    where = "/var/run/secrets/kubernetes.io/serviceaccount"
    mounted = {
        container["name"]: mount["name"]
        for container in (*spec["initContainers"], *spec["containers"])
        for mount in container["volumeMounts"]
        if mount["mountPath"] == where
    }
    assert mounted["app"].startswith("kube-api-access-"), "this API server hands out no token"
    assert mounted["rolesanywhere-sidecar"] == "rolesanywhere-empty"


def test_a_pod_copied_from_an_injected_one_is_not_injected_twice(team: Team) -> None:
    team.bind()
    # As read back, with all the defaults that the API server filled in.
    first = team.create(a_pod())
    copy = {key: first[key] for key in ("apiVersion", "kind", "spec")} | {
        "metadata": {
            "name": "copy",
            "annotations": first["metadata"]["annotations"],
            "labels": first["metadata"]["labels"],
        }
    }
    second = team.create(copy)
    assert second["spec"]["initContainers"] == first["spec"]["initContainers"]
    assert second["spec"]["containers"] == first["spec"]["containers"]
    assert second["spec"]["volumes"] == first["spec"]["volumes"]


def test_a_dry_run_says_what_would_become_of_the_pod(team: Team, webhook: Program) -> None:
    team.bind()
    assert is_injected(team.create(a_pod(), "--dry-run=server"))
    # More than once, where the API server's own plugins change what we made of the pod.
    said = admissions(webhook, team.namespace)
    assert {(line["decision"], line["dry_run"]) for line in said} == {("inject", True)}


def test_the_reason_and_what_to_do_reach_kubectl(team: Team) -> None:
    refusal = team.refusal_of(a_pod())
    assert "Error from server (NoBindingMatches)" in refusal
    assert f"no binding of namespace {team.namespace} matches this pod's labels" in refusal
    assert "create one, or change the selectors of one" in refusal


def test_a_binding_that_was_deleted_serves_nobody(team: Team) -> None:
    team.bind()
    assert is_injected(team.create(a_pod(), "--dry-run=server"))
    team.control_plane.kubectl("delete", "rab", "reports", f"--namespace={team.namespace}")

    def is_refused() -> bool:
        try:
            team.create(a_pod(), "--dry-run=server")
        except KubectlFailed as refused:
            return "NoBindingMatches" in str(refused)
        return False

    eventually("the deletion is heard of", is_refused)


def test_a_binding_of_another_namespace_is_out_of_reach(team: Team, release: Release) -> None:
    elsewhere = Team(release.control_plane, "default")
    elsewhere.bind("elsewhere")
    try:
        pod = a_pod(annotations={"rolesanywhere.dev/binding": "elsewhere"})
        assert "BindingNotFound" in team.refusal_of(pod)
    finally:
        release.control_plane.kubectl("delete", "rab", "elsewhere", "--namespace=default")


def test_a_pod_that_does_not_ask_never_reaches_us(team: Team, webhook: Program) -> None:
    assert not is_injected(team.create(a_pod(inject=None)))
    assert admissions(webhook, team.namespace) == []


@pytest.mark.parametrize("annotation", ["containers", "skip-containers"])
def test_a_pod_that_chooses_containers_but_asks_for_nothing_is_told_so(
    team: Team, annotation: str
) -> None:
    team.bind()
    pod = a_pod(inject=None, annotations={f"rolesanywhere.dev/{annotation}": "app"})
    assert "Error from server (IncompleteAnnotations)" in team.refusal_of(pod)


@pytest.mark.parametrize("excluded", ["kube-system", "webhook-tests"])
def test_pods_of_excluded_namespaces_never_reach_us(
    team: Team, release: Release, webhook: Program, excluded: str
) -> None:
    before = len(admissions(webhook, excluded))
    eventually(
        "the namespace has its ServiceAccount",
        lambda: _has_service_account(release.control_plane, excluded),
    )
    pod = Team(release.control_plane, excluded).create(a_pod(inject="nonsense"), "--dry-run=server")
    assert not is_injected(pod)
    assert len(admissions(webhook, excluded)) == before


def test_a_namespace_can_be_let_out_by_its_label(
    team: Team, release: Release, webhook: Program
) -> None:
    team.bind()
    label = ("label", "namespace", team.namespace)
    release.control_plane.kubectl(*label, "rolesanywhere.dev/injection=disabled")
    # The API server takes a moment to hear of a label.
    eventually(
        "its pods are let in as they are",
        lambda: not is_injected(team.create(a_pod(), "--dry-run=server")),
    )
    release.control_plane.kubectl(*label, "rolesanywhere.dev/injection-")
    eventually(
        "its pods are injected again",
        lambda: is_injected(team.create(a_pod(), "--dry-run=server")),
    )


def _has_service_account(control_plane: ControlPlane, namespace: str) -> bool:
    with suppress(KubectlFailed):
        control_plane.kubectl("get", "serviceaccount", "default", f"--namespace={namespace}")
        return True
    return False


def test_an_outage_stops_those_who_ask_and_nobody_else(release: Release, namespace: str) -> None:
    users = Team(release.control_plane, namespace)
    users.bind()
    with release.webhook(sidecar_image=IMAGE) as webhook:
        eventually("the webhook is ready", lambda: webhook.is_ready)
        with release.called(webhook):
            webhook.popen.send_signal(signal.SIGTERM)
            assert webhook.popen.wait(timeout=PATIENCE_SECONDS) == 0

            def failed() -> bool:
                try:
                    return is_injected(users.create(a_pod(), "--dry-run=server"))
                except KubectlFailed as refused:
                    return "failed calling webhook" in str(refused)

            eventually("a pod that asks is held up", failed)
            assert not is_injected(users.create(a_pod(inject=None)))


def test_without_a_certificate_it_waits_and_says_so(release: Release) -> None:
    with release.webhook(sidecar_image=IMAGE, certified=False) as webhook:
        eventually("it answers", lambda: webhook.probe()[0])
        status, text = webhook.probe()
        assert (status, text) == (
            503, "there is no serving certificate yet; the log says why\n",
        )  # fmt: skip
        release.certify()
        eventually("it is ready", lambda: webhook.is_ready)


def test_without_permission_it_waits_and_says_so(release: Release, namespace: str) -> None:
    nobody = release.control_plane.kubeconfig_for("default", namespace)
    with release.webhook(sidecar_image=IMAGE, kubeconfig=nobody) as webhook:
        eventually("it tried", lambda: webhook.lines(OUTAGE))
        status, text = webhook.probe()
        assert (status, text) == (503, "the bindings have not been listed yet; the log says why\n")
        [line, *_] = webhook.lines(OUTAGE)
        assert line["code"] == "KubernetesForbidden"
        assert "cannot list resource" in line["problem"]
