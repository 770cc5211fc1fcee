"""The operator's commands, asked about a real cluster: what they find there, and what they may."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.control_plane import ControlPlane
from tests.control_plane.conftest import MakeRelease
from tests.control_plane.teams import Team
from tests.operator.builders import IMAGE, a_container, a_pod
from tests.support.waiting import eventually


class Site(Team):
    """A namespace, and the commands as somebody runs them there."""

    def set_status(self, status: dict[str, Any], name: str = "reports") -> None:
        self.control_plane.kubectl(
            "patch", f"rab/{name}", f"--namespace={self.namespace}", "--subresource=status",
            "--type=merge", f"--patch={json.dumps({'status': status})}",
        )  # fmt: skip

    def run(
        self, *arguments: str, stdin: object = None, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rolesanywhere_operator", *arguments],
            input=yaml.safe_dump(stdin),
            env={"KUBECONFIG": str(kubeconfig or self.control_plane.admin_kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def explain(
        self, pod: object, *arguments: str, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        here = ("explain", "-f", "-", "-n", self.namespace, "--sidecar-image", IMAGE)
        return self.run(*here, *arguments, stdin=pod, kubeconfig=kubeconfig)


@pytest.fixture
def site(schema: ControlPlane, namespace: str) -> Site:
    return Site(schema, namespace)


def test_the_bindings_of_the_pods_namespace_are_the_clusters(site: Site) -> None:
    none = site.explain(a_pod())
    assert none.returncode == 1
    assert f"no binding of namespace {site.namespace}" in " ".join(none.stdout.split())
    site.bind()
    one = site.explain(a_pod())
    assert (one.returncode, one.stderr) == (0, "")
    assert one.stdout.startswith(f"Pod {site.namespace}/reports-0: injected, BindingSelected\n")


def test_what_the_controller_found_is_told(site: Site) -> None:
    site.bind()
    never_judged = " ".join(site.explain(a_pod()).stdout.split())
    assert "not ready it has no status: the controller has not seen it yet" in never_judged
    condition = {
        "type": "IdentityReady",
        "status": "False",
        "reason": "CertificatePending",
        "message": "cert-manager has not issued it yet.",
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }
    site.set_status({"observedGeneration": 1, "conditions": [condition]})
    told = " ".join(site.explain(a_pod()).stdout.split())
    assert "IdentityReady is False (CertificatePending): cert-manager has not issued it" in told


def test_who_may_not_read_bindings_gets_no_answer(site: Site) -> None:
    site.bind()
    nobody = site.control_plane.kubeconfig_for("default", site.namespace)
    done = site.explain(a_pod(), kubeconfig=nobody)
    assert (done.returncode, done.stdout) == (2, "")
    assert "rolesanywherebindings.rolesanywhere.dev is forbidden" in done.stderr


def test_a_cluster_that_does_not_answer_is_no_answer(site: Site, tmp_path: Path) -> None:
    gone = tmp_path / "kubeconfig"
    config = yaml.safe_load(site.control_plane.admin_kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    gone.write_text(yaml.safe_dump(config))
    done = site.explain(a_pod(), kubeconfig=gone)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the API server cannot be reached" in done.stderr


def test_the_context_says_which_namespace_is_meant(site: Site, tmp_path: Path) -> None:
    mine = tmp_path / "kubeconfig"
    config = yaml.safe_load(site.control_plane.admin_kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = site.namespace
    mine.write_text(yaml.safe_dump(config))
    site.bind()
    told = site.run("explain", "-f", "-", stdin=a_pod(), kubeconfig=mine)
    assert told.stdout.startswith(f"Pod {site.namespace}/reports-0: injected")
    assert site.run("trust-policy", "reports", kubeconfig=mine).returncode == 0


def test_the_trust_policy_of_a_binding_knows_its_certificate(site: Site) -> None:
    site.bind()
    here = ("-n", site.namespace)
    open_to_all = site.run("trust-policy", "reports", *here)
    assert open_to_all.returncode == 0
    assert "warning: nothing is known of the certificate's names" in open_to_all.stderr
    site.set_status({"identity": {"subject": "CN=reports.team-a,O=Example"}})
    closed = site.run("trust-policy", "reports", *here)
    assert "warning" not in closed.stderr
    [statement] = json.loads(closed.stdout)["Statement"]
    assert statement["Condition"]["StringEquals"] == {
        "aws:PrincipalTag/x509Subject/CN": "reports.team-a"
    }


def test_a_binding_that_is_not_there_is_a_no(site: Site) -> None:
    done = site.run("trust-policy", "reports", "-n", site.namespace)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"namespace {site.namespace} has no binding 'reports'; there: none\n"


@pytest.fixture
def admitted(site: Site, releases: MakeRelease) -> Iterator[Site]:
    """The site, where a webhook of ours answers for pods."""
    with releases(f"{site.namespace}-aws").serving(sidecar_image=IMAGE):
        yield site


def test_what_is_explained_is_what_the_api_server_makes_of_the_pod(admitted: Site) -> None:
    admitted.bind(roleSessionName="{namespace}.{pod}")
    proxy = [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}]
    pod = a_pod(a_container("app", env=proxy), initContainers=[a_container("setup")])
    explained = json.loads(admitted.explain(pod, "-o", "json").stdout)["pod"]

    def made() -> Any:
        found = admitted.create(pod, "--dry-run=server")
        return found if "rolesanywhere.dev/binding" in found["metadata"]["labels"] else None

    stored = eventually("the API server calls the webhook", made)
    assert contains(stored["metadata"], explained["metadata"])
    assert contains(stored["spec"], explained["spec"])
    names = [container["name"] for container in explained["spec"]["initContainers"]]
    assert [container["name"] for container in stored["spec"]["initContainers"]] == names


def contains(whole: Any, part: Any) -> bool:
    """Whether ``whole`` is ``part`` and what an API server adds: fields, mounts, volumes."""
    if isinstance(part, dict):
        return all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return all(any(contains(one, wanted) for one in whole) for wanted in part)
    return bool(whole == part)
