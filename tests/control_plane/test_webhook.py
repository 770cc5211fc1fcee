"""The webhook as a process of its own, with the chart's permissions, called by a real API server.

Only the address is not the chart's: the API server of these tests knows no Services.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.chart.helm import FULLNAME, as_yaml, render
from tests.cluster.binaries import find_or_build_helm
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import KubectlFailed
from tests.operator.builders import IMAGE, a_container, a_pod, a_raw_binding
from tests.operator.certificates import Pair, a_pair
from tests.support.tools import build_or_skip

CRD: Final = Path(__file__).parents[2] / "crds" / "rolesanywherebindings.yaml"
PATIENCE_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.1

OUTAGE: Final = "cannot follow the API server, keeping what is known"

RESTRICTED: Final[dict[str, Any]] = {
    "securityContext": {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
}


def eventually(what: str, look: Callable[[], Any]) -> Any:
    """What ``look`` finds as soon as it finds something; the test fails when it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(POLL_SECONDS)
    pytest.fail(f"not within {PATIENCE_SECONDS} seconds: {what}")


@dataclass(frozen=True)
class Webhook:
    """A running webhook process."""

    popen: subprocess.Popen[bytes]
    log: Path

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What it logged of ``event``."""
        said = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in said if line["event"] == event]

    def port(self, name: str) -> int:
        """The port called ``name``, 0 while it is not open."""
        return next(
            (line["port"] for line in self.lines("listening") if line["name_of_port"] == name), 0
        )

    def readiness(self) -> tuple[int, str]:
        """Status and text of /readyz; 0 when nobody answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            url = f"http://127.0.0.1:{self.port('probes')}/readyz"
            with closing(opener.open(url, timeout=2)) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()
        except OSError:
            return 0, ""


@dataclass(frozen=True)
class Site:
    """A namespace for the release, with the chart's account, and files for the process."""

    control_plane: ControlPlane
    release_namespace: str
    kubeconfig: Path
    folder: Path
    pair: Pair

    @contextmanager
    def running(self, *, certificate: bool = True) -> Iterator[Webhook]:
        """A webhook process for the length of the block."""
        (self.folder / "tls.key").write_bytes(self.pair.private_key)
        if certificate:
            self.certify()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubeconfig),
            "ROLESANYWHERE_OPERATOR_ADDRESS": "127.0.0.1",
            "ROLESANYWHERE_OPERATOR_PORT": "0",
            "ROLESANYWHERE_OPERATOR_PROBE_PORT": "0",
            "ROLESANYWHERE_OPERATOR_SIDECAR_IMAGE": IMAGE,
            "ROLESANYWHERE_OPERATOR_CERTIFICATE": str(self.folder / "tls.crt"),
            "ROLESANYWHERE_OPERATOR_PRIVATE_KEY": str(self.folder / "tls.key"),
        }
        log = self.folder / f"webhook-{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", "rolesanywhere_operator", "webhook"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Webhook(popen, log)
        finally:
            popen.kill()
            popen.wait()

    def certify(self) -> None:
        """Put the certificate where the webhook looks for it."""
        (self.folder / "tls.crt").write_bytes(self.pair.certificate)

    @contextmanager
    def called(self, webhook: Webhook) -> Iterator[None]:
        """Have the API server call ``webhook`` for the length of the block."""
        helm = build_or_skip(find_or_build_helm)
        given = {"secretName": "given", "caBundle": self.pair.certificate.decode()}
        [configuration] = render(
            helm,
            namespace=self.release_namespace,
            values={"webhook": {"certificate": given}},
            only=["webhook/admission.yaml"],
        )
        # There may be two at a time.
        configuration["metadata"]["name"] += f"-{webhook.popen.pid}"
        [entry] = configuration["webhooks"]
        path = entry["clientConfig"].pop("service")["path"]
        entry["clientConfig"]["url"] = f"https://127.0.0.1:{webhook.port('reviews')}{path}"
        bundle = base64.b64decode(entry["clientConfig"]["caBundle"])
        assert bundle == self.pair.certificate
        self.control_plane.apply(as_yaml([configuration]))
        try:
            yield
        finally:
            self.control_plane.kubectl(
                "delete", "mutatingwebhookconfiguration", configuration["metadata"]["name"]
            )


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The chart's account for the webhook, in a namespace of its own."""
    namespace = "webhook-tests"
    helm = build_or_skip(find_or_build_helm)
    roles = as_yaml(render(helm, namespace=namespace, only=["webhook/rbac.yaml"]))
    control_plane.apply(CRD.read_text())
    control_plane.kubectl("wait", "--for=condition=Established", f"--filename={CRD}")
    control_plane.kubectl("create", "namespace", namespace)
    control_plane.apply(roles, namespace=namespace)
    kubeconfig = control_plane.kubeconfig_for(f"{FULLNAME}-webhook", namespace)
    folder = tmp_path_factory.mktemp("webhook")
    yield Site(control_plane, namespace, kubeconfig, folder, a_pair("webhook"))
    control_plane.kubectl("delete", "--filename=-", "--wait=false", input=roles)
    control_plane.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def webhook(site: Site) -> Iterator[Webhook]:
    """One webhook that is ready, and that the API server calls, for the tests that share it."""
    with site.running() as started:
        eventually("the webhook is ready", lambda: started.readiness()[0] == 200)
        with site.called(started):
            # The API server takes a moment to hear of a webhook; a pod that asks then meets it.
            eventually("the API server calls it", lambda: _is_refused(site, "default"))
            yield started


@pytest.fixture
def team(webhook: Webhook, site: Site, namespace: str) -> "Team":
    """A namespace of users, who know nothing of the webhook but what it does to their pods."""
    return Team(site.control_plane, namespace)


@dataclass(frozen=True)
class Team:
    """What users do."""

    control_plane: ControlPlane
    namespace: str

    def bind(self, name: str = "reports", **spec: Any) -> None:
        """Create a binding."""
        binding = a_raw_binding(name, self.namespace, **spec)
        del binding["metadata"]["generation"]
        self.create(binding)

    def create(self, manifest: dict[str, Any], *args: str) -> Any:
        """Create an object; what the API server made of it."""
        text = self.control_plane.kubectl(
            "create", "--filename=-", f"--namespace={self.namespace}", "--output=json", *args,
            input=json.dumps(manifest),
        )  # fmt: skip
        return json.loads(text)

    def refusal_of(self, pod: dict[str, Any]) -> str:
        """What kubectl says when the pod is refused."""
        with pytest.raises(KubectlFailed) as caught:
            self.create(pod)
        return str(caught.value)


def _is_refused(site: Site, namespace: str) -> bool:
    pod = a_pod(inject="perhaps")
    try:
        Team(site.control_plane, namespace).create(pod, "--dry-run=server")
    except KubectlFailed as refused:
        return "MalformedAnnotation" in str(refused)
    return False


def is_injected(pod: dict[str, Any]) -> bool:
    return any(
        container["name"] == "rolesanywhere-sidecar"
        for container in pod["spec"].get("initContainers", ())
    )


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
    team.control_plane.kubectl(
        "label", "namespace", team.namespace, "pod-security.kubernetes.io/enforce=restricted"
    )
    team.bind()
    assert "violates PodSecurity" in team.refusal_of(a_pod()), "the namespace is not restricted"
    assert is_injected(team.create(a_pod(a_container(**RESTRICTED))))


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


def test_a_dry_run_says_what_would_become_of_the_pod(team: Team, webhook: Webhook) -> None:
    team.bind()
    assert is_injected(team.create(a_pod(), "--dry-run=server"))
    # More than once, where the API server's own plugins change what we made of the pod.
    said = [line for line in webhook.lines("admission") if line["namespace"] == team.namespace]
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


def test_a_binding_of_another_namespace_is_out_of_reach(team: Team, site: Site) -> None:
    elsewhere = Team(site.control_plane, "default")
    elsewhere.bind("elsewhere")
    try:
        pod = a_pod(annotations={"rolesanywhere.dev/binding": "elsewhere"})
        assert "BindingNotFound" in team.refusal_of(pod)
    finally:
        site.control_plane.kubectl("delete", "rab", "elsewhere", "--namespace=default")


def test_a_pod_that_does_not_ask_never_reaches_us(team: Team, webhook: Webhook) -> None:
    before = len(webhook.lines("admission"))
    assert not is_injected(team.create(a_pod(inject=None)))
    assert len(webhook.lines("admission")) == before


@pytest.mark.parametrize("excluded", ["kube-system", "webhook-tests"])
def test_pods_of_excluded_namespaces_never_reach_us(
    team: Team, site: Site, webhook: Webhook, excluded: str
) -> None:
    before = len(webhook.lines("admission"))
    eventually(
        "the namespace has its ServiceAccount",
        lambda: _has_service_account(site.control_plane, excluded),
    )
    pod = Team(site.control_plane, excluded).create(a_pod(inject="nonsense"), "--dry-run=server")
    assert not is_injected(pod)
    assert len(webhook.lines("admission")) == before


def _has_service_account(control_plane: ControlPlane, namespace: str) -> bool:
    with suppress(KubectlFailed):
        control_plane.kubectl("get", "serviceaccount", "default", f"--namespace={namespace}")
        return True
    return False


def test_an_outage_stops_those_who_ask_and_nobody_else(site: Site, namespace: str) -> None:
    users = Team(site.control_plane, namespace)
    users.bind()
    with site.running() as webhook:
        eventually("the webhook is ready", lambda: webhook.readiness()[0] == 200)
        with site.called(webhook):
            webhook.popen.send_signal(signal.SIGTERM)
            assert webhook.popen.wait(timeout=PATIENCE_SECONDS) == 0

            def failed() -> bool:
                try:
                    return is_injected(users.create(a_pod(), "--dry-run=server"))
                except KubectlFailed as refused:
                    return "failed calling webhook" in str(refused)

            eventually("a pod that asks is held up", failed)
            assert not is_injected(users.create(a_pod(inject=None)))


def test_without_a_certificate_it_waits_and_says_so(site: Site) -> None:
    (site.folder / "tls.crt").unlink(missing_ok=True)
    with site.running(certificate=False) as webhook:
        eventually("it answers", lambda: webhook.readiness()[0])
        status, text = webhook.readiness()
        assert (status, text) == (
            503, "there is no serving certificate yet; the log says why\n",
        )  # fmt: skip
        site.certify()
        eventually("it is ready", lambda: webhook.readiness()[0] == 200)


def test_without_permission_it_waits_and_says_so(site: Site, namespace: str) -> None:
    nobody = site.control_plane.kubeconfig_for("default", namespace)
    stranger = Site(site.control_plane, namespace, nobody, site.folder, site.pair)
    with stranger.running() as webhook:
        eventually("it tried", lambda: webhook.lines(OUTAGE))
        status, text = webhook.readiness()
        assert (status, text) == (503, "the bindings have not been listed yet; the log says why\n")
        [line, *_] = webhook.lines(OUTAGE)
        assert line["code"] == "KubernetesForbidden"
        assert "cannot list resource" in line["problem"]
