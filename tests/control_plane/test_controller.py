"""The controller as a process of its own, with the chart's permissions, on a real API server."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.cluster.controllers import LEASE, LEASE_SECONDS, SHORT_LEASE_SECONDS, Cluster, told
from tests.cluster.kubectl import PATIENCE
from tests.support.waiting import PATIENCE_SECONDS, eventually

# A key in hardware that takes a folder of the node, of which the operator allows none.
NOT_ALLOWED: Final = {
    "pkcs11": {
        "uri": "pkcs11:token=node",
        "modulePath": "/opt/vendor/lib/p11.so",
        "hostPaths": ["/opt/vendor"],
    }
}


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

    cluster.apply(identity=NOT_ALLOWED)
    third = cluster.judged(generation=3)
    assert told(third)["Ready"] == ("False", "HostPathNotAllowed")
    assert told(third)["Accepted"] == ("False", "HostPathNotAllowed")


def test_a_binding_made_under_a_running_controller_is_judged(cluster: Cluster) -> None:
    cluster.leader("controller")
    cluster.apply()
    assert told(cluster.judged(generation=1))["Ready"] == ("True", "Accepted")


def test_a_binding_at_rest_is_left_at_rest(cluster: Cluster) -> None:
    """No write follows from a write, and none from the restart of the controller."""
    cluster.apply()
    first = cluster.leader("first")
    cluster.judged(generation=1)
    # Two write to it, and either may be first.
    eventually("its pods are counted", lambda: "pods" in cluster.binding()["status"])
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
    # kopf keeps no notes, neither there nor here.
    assert after["status"].keys() <= {"observedGeneration", "conditions", "identity", "pods"}
    shown = ["get", "rolesanywherebinding/reports", "--output=json", "--show-managed-fields"]
    text = cluster.control_plane.kubectl(*shown, f"--namespace={cluster.namespace}")
    written = [
        (one["manager"], one.get("subresource"))
        for one in json.loads(text)["metadata"]["managedFields"]
        if one["manager"] != "kubectl"
    ]
    assert {subresource for _, subresource in written} == {"status"}


def test_a_deleted_binding_is_gone_though_no_controller_runs(cluster: Cluster) -> None:
    cluster.apply()
    controller = cluster.leader("controller")
    cluster.judged(generation=1)
    controller.popen.kill()
    cluster.control_plane.kubectl(
        "delete", "rolesanywherebinding/reports", f"--namespace={cluster.namespace}", PATIENCE
    )


def test_becoming_ready_is_an_event_and_staying_so_is_none(cluster: Cluster) -> None:
    cluster.apply()
    cluster.leader("controller")
    cluster.judged(generation=1)
    cluster.apply(durationSeconds=1800)
    cluster.judged(generation=2)
    cluster.apply(identity=NOT_ALLOWED)
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
        ("Warning", "HostPathNotAllowed"),
    ]


@pytest.mark.long
def test_of_two_controllers_one_acts_and_the_other_takes_over_from_the_dead(
    cluster: Cluster,
) -> None:
    first = cluster.leader("first", lease_duration_seconds=SHORT_LEASE_SECONDS)
    second = cluster.standby("second", lease_duration_seconds=SHORT_LEASE_SECONDS)
    cluster.apply()
    cluster.judged(generation=1)
    # What was written is told a moment later.
    eventually("the first tells of it", lambda: first.lines("binding judged"))
    assert not second.lines("leading")

    first.popen.kill()
    died = time.monotonic()
    eventually("the other leads", lambda: second.lines("leading"))
    # The last renewal may be seen one retry late, and its end another.
    assert time.monotonic() - died < SHORT_LEASE_SECONDS * 1.5
    cluster.apply(durationSeconds=1800)
    cluster.judged(generation=2)
    assert cluster.get(f"lease/{LEASE}")["spec"]["leaseTransitions"] == 1


def test_a_controller_told_to_stop_hands_over_at_once_and_exits_0(cluster: Cluster) -> None:
    first = cluster.leader("first")
    second = cluster.standby("second")
    first.popen.terminate()
    told_at = time.monotonic()
    eventually("the other leads", lambda: second.lines("leading"))
    assert time.monotonic() - told_at < LEASE_SECONDS / 2
    assert first.popen.wait(PATIENCE_SECONDS) == 0


def test_a_standby_told_to_stop_leaves_the_leader_alone(cluster: Cluster) -> None:
    cluster.leader("first")
    second = cluster.standby("second")
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
    # At its next renewal, and not when it must give up.
    assert controller.popen.wait(LEASE_SECONDS / 2) == 1
    (loss,) = controller.lines("no longer leading")
    assert loss["code"] == "LeaseLost"
    assert "thief" in loss["error"]
    assert cluster.get(f"lease/{LEASE}")["spec"]["holderIdentity"] == "thief"


def test_the_probes_answer_while_it_leads(cluster: Cluster) -> None:
    controller = cluster.leader("controller")
    assert controller.probe("/livez") == (200, "ok\n")
    assert controller.probe("/readyz") == (200, "ok\n")
    status, metrics = controller.probe("/metrics")
    assert (status, "rolesanywhere_operator_leader 1" in metrics) == (200, True)


def test_a_controller_without_a_way_to_the_api_says_so_in_one_sentence(
    cluster: Cluster, tmp_path: Path
) -> None:
    nowhere = replace(cluster, kubeconfig=tmp_path / "missing")
    controller = nowhere.start("lost")
    assert controller.popen.wait(PATIENCE_SECONDS) == 1
    said = controller.log.read_text()
    assert f"kubeconfig {nowhere.kubeconfig} cannot be used" in said
    assert "Traceback" not in said
