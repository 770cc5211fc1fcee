"""The controller as a process of its own, with the chart's permissions, on a real API server."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.chart.helm import FULLNAME, as_yaml, render
from tests.cluster.binaries import find_or_build_helm
from tests.cluster.control_plane import ControlPlane
from tests.support.tools import build_or_skip

CRD: Final = Path(__file__).parents[2] / "crds" / "rolesanywherebindings.yaml"
LEASE: Final = f"{FULLNAME}-controller"
# Short, so that a takeover is; long enough that a busy machine renews in time.
LEASE_SECONDS: Final = 6
PATIENCE_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.1

ACCOUNT: Final = "arn:aws:rolesanywhere:eu-west-1:111122223333"
SPEC: Final = {
    "trustAnchorArn": f"{ACCOUNT}:trust-anchor/11111111-2222-3333-4444-555555555555",
    "profileArn": f"{ACCOUNT}:profile/11111111-2222-3333-4444-555555555555",
    "roleArn": "arn:aws:iam::111122223333:role/reports",
    "identity": {"secret": {"name": "reports-tls"}},
}
# A kind that this version knows and does not serve.
OTHER_IDENTITY: Final = {"csi": {"driver": "csi.example.com"}}


def eventually(what: str, look: Callable[[], Any], *, within: float = PATIENCE_SECONDS) -> Any:
    """What ``look`` finds as soon as it finds something; the test fails when it never does."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(POLL_SECONDS)
    pytest.fail(f"not within {within} seconds: {what}")


@dataclass(frozen=True)
class Controller:
    """A running controller process."""

    popen: subprocess.Popen[bytes]
    log: Path

    def has_said(self, event: str) -> bool:
        return any(line.get("event") == event for line in self.lines())

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def answers(self, path: str) -> int:
        """The status of the probe ``path``, 0 when nobody answers."""
        return probe(self.port, path)

    @property
    def port(self) -> int:
        said = [line["port"] for line in self.lines() if line.get("event") == "probes answered"]
        return int(said[0]) if said else 0


def probe(port: int, path: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=2) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return 0


@dataclass(frozen=True)
class Cluster:
    """One namespace with the chart's controller account, and a way to start controllers in it."""

    control_plane: ControlPlane
    namespace: str
    kubeconfig: Path
    logs: Path
    started: ExitStack

    def start(self, name: str) -> Controller:
        """A controller process; ended with the test at the latest."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.logs),
            "KUBECONFIG": str(self.kubeconfig),
            "ROLESANYWHERE_OPERATOR_ADDRESS": "127.0.0.1",
            "ROLESANYWHERE_OPERATOR_PROBE_PORT": "0",
            "ROLESANYWHERE_OPERATOR_NAMESPACE": self.namespace,
            "ROLESANYWHERE_OPERATOR_LEASE_NAME": LEASE,
            "ROLESANYWHERE_OPERATOR_LEASE_DURATION_SECONDS": str(LEASE_SECONDS),
        }
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", "rolesanywhere_operator", "controller"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.started.callback(popen.wait)
        self.started.callback(popen.kill)
        return Controller(popen, log)

    def leader(self, name: str) -> Controller:
        """A controller that has been elected."""
        controller = self.start(name)
        eventually(f"{name} leads", lambda: controller.has_said("leading"))
        return controller

    def apply(self, **spec: Any) -> None:
        """The binding ``reports`` with ``spec`` in place of what it would say."""
        binding = {
            "apiVersion": "rolesanywhere.dev/v1alpha1",
            "kind": "RolesAnywhereBinding",
            "metadata": {"name": "reports"},
            "spec": SPEC | spec,
        }
        self.control_plane.apply(json.dumps(binding), namespace=self.namespace)

    def binding(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("rolesanywherebinding/reports")
        return found

    def get(self, what: str) -> Any:
        return self.control_plane.kubectl.get(what, f"--namespace={self.namespace}")

    def judged(self, generation: int) -> dict[str, Any]:
        """The binding once the controller has seen ``generation``."""

        def look() -> dict[str, Any] | None:
            found = self.binding()
            seen = found.get("status", {}).get("observedGeneration")
            return found if seen == generation else None

        judged: dict[str, Any] = eventually(f"generation {generation} is judged", look)
        return judged


def told(binding: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in binding["status"]["conditions"]}


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Cluster]:
    """The CRD, the chart's account with the chart's permissions, and no controller yet."""
    helm = build_or_skip(find_or_build_helm)
    control_plane.apply(CRD.read_text())
    control_plane.kubectl(
        "wait", "--for=condition=Established", "crd/rolesanywherebindings.rolesanywhere.dev"
    )
    roles = as_yaml(render(helm, namespace=namespace, only=["controller/rbac.yaml"]))
    control_plane.apply(roles, namespace=namespace)
    kubeconfig = control_plane.kubeconfig_for(f"{FULLNAME}-controller", namespace)
    with ExitStack() as started:
        yield Cluster(control_plane, namespace, kubeconfig, tmp_path, started)
    control_plane.kubectl(
        "delete", "--filename=-", f"--namespace={namespace}", "--wait=false", input=roles
    )


def test_a_good_binding_becomes_ready_and_a_change_is_followed(cluster: Cluster) -> None:
    cluster.apply()
    cluster.leader("controller")
    first = cluster.judged(generation=1)
    assert told(first) == {
        "Accepted": ("True", "Valid"),
        "IdentityReady": ("Unknown", "NotObserved"),
        "Ready": ("True", "Accepted"),
    }
    assert first["status"]["identity"] == {"source": "secret/reports-tls"}

    cluster.apply(durationSeconds=1800)
    second = cluster.judged(generation=2)
    assert {c["observedGeneration"] for c in second["status"]["conditions"]} == {2}
    for before, after in zip(
        first["status"]["conditions"], second["status"]["conditions"], strict=True
    ):
        assert before["lastTransitionTime"] == after["lastTransitionTime"]

    cluster.apply(identity=OTHER_IDENTITY)
    third = cluster.judged(generation=3)
    assert told(third)["Ready"] == ("False", "UnsupportedIdentity")
    assert told(third)["Accepted"] == ("False", "UnsupportedIdentity")


def test_a_binding_made_under_a_running_controller_is_judged(cluster: Cluster) -> None:
    cluster.leader("controller")
    cluster.apply()
    assert told(cluster.judged(generation=1))["Ready"] == ("True", "Accepted")


def test_a_binding_at_rest_is_left_at_rest(cluster: Cluster) -> None:
    """No write follows from a write, and none from the restart of the controller."""
    cluster.apply()
    first = cluster.leader("first")
    cluster.judged(generation=1)
    time.sleep(2)
    settled = cluster.binding()
    first.popen.terminate()
    first.popen.wait(PATIENCE_SECONDS)
    cluster.leader("second")
    time.sleep(3)
    assert cluster.binding() == settled


def test_nothing_but_the_status_is_written(cluster: Cluster) -> None:
    cluster.apply()
    before = cluster.binding()
    cluster.leader("controller")
    after = cluster.judged(generation=1)
    assert after["spec"] == before["spec"]
    assert after["metadata"].keys() == before["metadata"].keys()
    assert not {"annotations", "finalizers"} & after["metadata"].keys()


def test_a_deleted_binding_is_gone_though_no_controller_runs(cluster: Cluster) -> None:
    cluster.apply()
    controller = cluster.leader("controller")
    cluster.judged(generation=1)
    controller.popen.kill()
    cluster.control_plane.kubectl(
        "delete", "rolesanywherebinding/reports", f"--namespace={cluster.namespace}", "--timeout=5s"
    )


def test_becoming_ready_is_an_event_and_staying_so_is_none(cluster: Cluster) -> None:
    cluster.apply()
    cluster.leader("controller")
    cluster.judged(generation=1)
    cluster.apply(durationSeconds=1800)
    cluster.judged(generation=2)
    cluster.apply(identity=OTHER_IDENTITY)
    cluster.judged(generation=3)

    def posted() -> list[tuple[str, str]]:
        found = [
            (event["type"], event["reason"])
            for event in cluster.get("events")["items"]
            if event["involvedObject"]["kind"] == "RolesAnywhereBinding"
        ]
        return sorted(found) if len(found) > 1 else []

    assert eventually("two Events are posted", posted) == [
        ("Normal", "Accepted"),
        ("Warning", "UnsupportedIdentity"),
    ]


def test_of_two_controllers_one_acts_and_the_other_takes_over_from_the_dead(
    cluster: Cluster,
) -> None:
    first = cluster.leader("first")
    second = cluster.start("second")
    eventually("the standby is ready", lambda: second.answers("/readyz") == 200)
    cluster.apply()
    cluster.judged(generation=1)
    assert first.has_said("binding judged")
    assert not second.has_said("leading")

    first.popen.kill()
    died = time.monotonic()
    eventually("the other leads", lambda: second.has_said("leading"))
    # The last renewal may be seen one retry late, and its end another.
    assert time.monotonic() - died < LEASE_SECONDS * 1.5
    cluster.apply(durationSeconds=1800)
    cluster.judged(generation=2)
    assert cluster.get(f"lease/{LEASE}")["spec"]["leaseTransitions"] == 1


def test_a_controller_told_to_stop_hands_over_at_once_and_exits_0(cluster: Cluster) -> None:
    first = cluster.leader("first")
    second = cluster.start("second")
    eventually("the standby is ready", lambda: second.answers("/readyz") == 200)
    first.popen.terminate()
    told_at = time.monotonic()
    eventually("the other leads", lambda: second.has_said("leading"))
    assert time.monotonic() - told_at < LEASE_SECONDS / 2
    assert first.popen.wait(PATIENCE_SECONDS) == 0


def test_a_standby_told_to_stop_leaves_the_leader_alone(cluster: Cluster) -> None:
    cluster.leader("first")
    second = cluster.start("second")
    eventually("the standby is ready", lambda: second.answers("/readyz") == 200)
    holder = cluster.get(f"lease/{LEASE}")["spec"]["holderIdentity"]
    second.popen.terminate()
    assert second.popen.wait(PATIENCE_SECONDS) == 0
    assert cluster.get(f"lease/{LEASE}")["spec"]["holderIdentity"] == holder


def test_a_controller_that_was_robbed_of_its_lease_ends_with_an_error(cluster: Cluster) -> None:
    controller = cluster.leader("controller")
    cluster.control_plane.kubectl(
        "patch", f"lease/{LEASE}", f"--namespace={cluster.namespace}", "--type=merge",
        '--patch={"spec":{"holderIdentity":"thief"}}',
    )  # fmt: skip
    assert controller.popen.wait(LEASE_SECONDS) == 1
    (loss,) = [line for line in controller.lines() if line["event"] == "no longer leading"]
    assert loss["code"] == "LeaseLost"
    assert "thief" in loss["error"]
    assert cluster.get(f"lease/{LEASE}")["spec"]["holderIdentity"] == "thief"


def test_the_probes_answer_while_it_leads(cluster: Cluster) -> None:
    controller = cluster.leader("controller")
    assert controller.answers("/livez") == 200
    assert controller.answers("/readyz") == 200
    assert controller.answers("/metrics") == 404


def test_a_controller_without_a_way_to_the_api_says_so_in_one_sentence(
    cluster: Cluster, tmp_path: Path
) -> None:
    nowhere = Cluster(
        cluster.control_plane, cluster.namespace, tmp_path / "missing", tmp_path, cluster.started
    )
    controller = nowhere.start("lost")
    assert controller.popen.wait(PATIENCE_SECONDS) == 1
    said = controller.log.read_text()
    assert f"kubeconfig {nowhere.kubeconfig} cannot be used" in said
    assert "Traceback" not in said
