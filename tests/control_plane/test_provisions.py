"""What a kind of identity needs of the cluster, on a real API server: missed, and picked up."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from rolesanywhere_operator.controller.provisions import Provisions
from rolesanywhere_operator.domain.identities import PodCertificateIdentity
from rolesanywhere_operator.kube.client import connect
from tests.cluster.binaries import Binaries
from tests.cluster.control_plane import ControlPlane
from tests.cluster.controllers import Cluster, told
from tests.cluster.kubectl import PATIENCE
from tests.support.waiting import eventually

DRIVER = "certificates.example.com"
PER_POD = {"certManager": {"issuerRef": {"name": "ca"}, "mode": "PerPod"}}
PROJECTED = {"podCertificate": {"signerName": "example.com/workloads", "keyType": "ECDSAP256"}}


def a_driver(name: str, *modes: str) -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": name},
        "spec": {"attachRequired": False, "volumeLifecycleModes": list(modes)},
    }


@contextmanager
def installed(control_plane: ControlPlane, manifest: dict[str, Any]) -> Iterator[None]:
    text = json.dumps(manifest)
    control_plane.apply(text)
    try:
        yield
    finally:
        control_plane.kubectl("delete", "--filename=-", PATIENCE, input=text)


def stands(cluster: Cluster, *expected: tuple[str, str]) -> None:
    """Until IdentityReady and Ready are as expected."""

    def look() -> bool:
        said = told(cluster.binding())
        return (said.get("IdentityReady"), said.get("Ready")) == expected

    eventually(f"the binding is {expected}", look)


FINE = (("Unknown", "PerPod"), ("True", "Accepted"))


@pytest.mark.parametrize(
    ("identity", "reason", "comes"),
    [
        ({"csi": {"driver": DRIVER}}, "DriverMissing", a_driver(DRIVER, "Ephemeral")),
        (PER_POD, "DriverMissing", a_driver("csi.cert-manager.io", "Persistent", "Ephemeral")),
    ],
    ids=["csi", "PerPod"],
)
def test_what_an_identity_needs_is_missed_and_picked_up_when_it_comes(
    cluster: Cluster, identity: dict[str, Any], reason: str, comes: dict[str, Any]
) -> None:
    cluster.apply(identity=identity)
    controller = cluster.leader("controller")
    stands(cluster, ("False", reason), ("False", reason))
    with installed(cluster.control_plane, comes):
        stands(cluster, *FINE)
    assert not controller.lines("binding not settled")
    assert not controller.lines("cannot see what an identity needs")


def test_a_driver_without_inline_volumes_is_no_driver_for_pods(cluster: Cluster) -> None:
    cluster.apply(identity={"csi": {"driver": DRIVER}})
    with installed(cluster.control_plane, a_driver(DRIVER, "Persistent")):
        cluster.leader("controller")
        stands(cluster, ("False", "DriverUnfit"), ("False", "DriverUnfit"))


def test_without_the_feature_gates_api_a_pod_certificate_is_not_to_be_had(cluster: Cluster) -> None:
    cluster.apply(identity=PROJECTED)
    cluster.leader("controller")
    reason = "PodCertificatesNotServed"
    stands(cluster, ("False", reason), ("False", reason))


async def test_pod_certificates_that_an_api_server_serves_are_no_obstacle(
    cluster_binaries: Binaries,
) -> None:
    served = "--runtime-config=certificates.k8s.io/v1beta1/podcertificaterequests=true"
    identity = PodCertificateIdentity(signer_name="example.com/workloads", key_type="ECDSAP256")
    with ControlPlane.start(cluster_binaries, flags=[served]) as control_plane:
        async with connect(control_plane.admin_kubeconfig) as kube:
            provisions = Provisions(kube, now=lambda: datetime.now(UTC))
            assert await provisions.obstacle(identity) is None
