"""The control plane that the other tests stand on keeps its own promises."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster import binaries
from tests.cluster.binaries import ASSETS_VARIABLE, Binaries
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import PATIENCE, Kubectl, KubectlFailed
from tests.cluster.readiness import ControlPlaneFailed
from tests.support.tools import ToolMissing
from tests.support.waiting import eventually

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: reports}
spec:
  selector: {matchLabels: {app: reports}}
  template:
    metadata: {labels: {app: reports}}
    spec: {containers: [{name: app, image: reports.invalid/app}]}
"""


@pytest.fixture
def temporary_folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a control plane that the test starts puts its own folder.

    Not pytest's: its names are so long that a socket's path may not fit in 107 bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_the_server_is_the_kubernetes_that_was_asked_for(
    control_plane: ControlPlane, cluster_binaries: Binaries
) -> None:
    served = json.loads(control_plane.kubectl("get", "--raw", "/version"))["gitVersion"]
    asked = subprocess.check_output([cluster_binaries.kube_apiserver, "--version"], text=True)
    assert f"Kubernetes {served}" == asked.strip()
    if not os.environ.get(ASSETS_VARIABLE):
        assert served == binaries.kubernetes_version()


def test_a_service_account_without_a_role_is_refused(
    control_plane: ControlPlane, namespace: str
) -> None:
    stranger = f"system:serviceaccount:{namespace}:default"
    with pytest.raises(KubectlFailed, match="forbidden"):
        control_plane.kubectl("get", "pods", f"--namespace={namespace}", as_=stranger)


def test_a_service_account_may_do_what_its_role_says_and_no_more(
    control_plane: ControlPlane, namespace: str
) -> None:
    here, reader = f"--namespace={namespace}", f"system:serviceaccount:{namespace}:default"
    kubectl = control_plane.kubectl
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods", here)
    kubectl("create", "rolebinding", "r", "--role=reader", f"--user={reader}", here)

    def may_read() -> bool:
        with suppress(KubectlFailed):
            assert kubectl.get("pods", here, as_=reader)["items"] == []
            return True
        return False

    # The API server hears of a role by a watch, a moment later.
    eventually("it may read", may_read)
    with pytest.raises(KubectlFailed, match="forbidden"):
        kubectl("create", "configmap", "notes", here, as_=reader)


def test_a_deployment_becomes_a_pod_that_waits_for_a_node(
    control_plane: ControlPlane, namespace: str
) -> None:
    here = f"--namespace={namespace}"
    control_plane.apply(DEPLOYMENT, namespace=namespace)
    control_plane.kubectl(
        "wait", "deployment/reports", "--for=jsonpath={.status.replicas}=1", here, PATIENCE
    )
    [pod] = control_plane.kubectl.get("pods", here)["items"]
    assert pod["metadata"]["labels"]["app"] == "reports"
    assert pod["status"]["phase"] == "Pending"


def test_a_manifest_with_a_field_nobody_knows_is_refused(
    control_plane: ControlPlane, namespace: str
) -> None:
    with pytest.raises(KubectlFailed, match="restartPolice"):
        control_plane.apply(
            DEPLOYMENT.replace("spec: {containers", "spec: {restartPolice: Always, containers"),
            namespace=namespace,
        )


def test_a_service_accounts_kubeconfig_speaks_as_that_service_account(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    kubeconfig = control_plane.kubeconfig_for("default", namespace)
    kubectl = Kubectl(control_plane.kubectl.binary, kubeconfig, cache=tmp_path)
    who = kubectl("auth", "whoami", "--output=jsonpath={.status.userInfo.username}")
    assert who == f"system:serviceaccount:{namespace}:default"
    assert kubeconfig.stat().st_mode & 0o077 == 0


def test_two_control_planes_run_side_by_side_and_know_nothing_of_each_other(
    control_plane: ControlPlane, cluster_binaries: Binaries, namespace: str
) -> None:
    with ControlPlane.start(cluster_binaries) as other:
        assert other.url != control_plane.url
        with pytest.raises(KubectlFailed, match="not found"):
            other.kubectl("get", "namespace", namespace)


@pytest.mark.parametrize("interruption", [None, KeyboardInterrupt])
def test_nothing_is_left_of_a_control_plane_however_it_ended(
    cluster_binaries: Binaries,
    temporary_folders: Path,
    interruption: type[BaseException] | None,
) -> None:
    started: list[ControlPlane] = []

    def run() -> None:
        with ControlPlane.start(cluster_binaries, controllers=True) as plane:
            started.append(plane)
            assert _processes_naming(temporary_folders) == {p.pid for p in plane.processes}
            if interruption is not None:
                raise interruption

    if interruption is None:
        run()
    else:
        with pytest.raises(interruption):
            run()
    assert len(started[0].processes) == 3
    assert _processes_naming(temporary_folders) == set()
    assert list(temporary_folders.iterdir()) == []


def test_a_start_that_fails_says_why_and_leaves_nothing(
    cluster_binaries: Binaries, temporary_folders: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broken = tmp_path_factory.mktemp("programs") / "etcd"
    broken.write_text("#!/bin/sh\necho no space left on device\nexit 3\n")
    broken.chmod(0o755)
    with (
        pytest.raises(ControlPlaneFailed, match=r"etcd ended with exit code 3(.|\n)*no space left"),
        ControlPlane.start(replace(cluster_binaries, etcd=broken)),
    ):
        pytest.fail("a control plane without a store must not be handed out")
    assert _processes_naming(temporary_folders) == set()
    assert list(temporary_folders.iterdir()) == []


def test_a_developers_own_folder_comes_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, cache = tmp_path / "own", tmp_path / "cache"
    monkeypatch.setenv("ROLESANYWHERE_CACHE", str(cache))
    own.mkdir()
    for name in ("etcd", "kube-apiserver", "kubectl"):
        (own / name).touch()
    env = {ASSETS_VARIABLE: str(own)}
    assert binaries.find(env) is None, "envtest's folders have no kube-controller-manager"
    shelf = cache / "assets" / f"kubernetes-{binaries.kubernetes_version()}"
    shelf.mkdir(parents=True)
    for name in ("kube-controller-manager", "kubectl"):
        (shelf / name).touch()
    assert binaries.find(env) == Binaries(
        etcd=own / "etcd",
        kube_apiserver=own / "kube-apiserver",
        kube_controller_manager=shelf / "kube-controller-manager",
        kubectl=own / "kubectl",
    )
    assert binaries.find({}) is None


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ToolMissing, match="KUBEBUILDER_ASSETS is '/nowhere'"):
        binaries.find({ASSETS_VARIABLE: "/nowhere"})


def _processes_naming(folder: Path) -> set[int]:
    """The ids of all processes with ``folder`` in their command line, whoever started them."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command_line = (entry / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if os.fsencode(folder) in command_line:
            found.add(int(entry.name))
    return found
