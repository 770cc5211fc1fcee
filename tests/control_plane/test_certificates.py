"""A binding's Certificate on a real API server, with cert-manager's own schema.

Its controller is played by the tests, which say in a Certificate's status what it would.
"""

import json
import time
from typing import Any

import pytest

from tests.cluster.cert_manager import CERTIFICATE, CertManager, crds
from tests.cluster.controllers import SHORT_LEASE_SECONDS, Cluster, told
from tests.cluster.kubectl import PATIENCE, KubectlFailed
from tests.support.tools import build_or_skip
from tests.support.waiting import PATIENCE_SECONDS, eventually

# The garbage collector may have to learn again what kinds of objects there are.
COLLECTION_SECONDS = 120.0
ISSUER = {"name": "ca", "kind": "ClusterIssuer"}


def asking(**asked: Any) -> dict[str, Any]:
    """The identity of a binding that asks cert-manager for a certificate."""
    return {"certManager": {"issuerRef": ISSUER, **asked}}


@pytest.fixture
def absent(cluster: Cluster) -> CertManager:
    """A cluster without cert-manager, which may be installed."""
    schemas = build_or_skip(crds)
    cert_manager = CertManager(cluster.control_plane, cluster.namespace, schemas)
    cert_manager.uninstall()
    return cert_manager


@pytest.fixture
def cert_manager(cluster: Cluster) -> CertManager:
    """A cluster with cert-manager."""
    schemas = build_or_skip(crds)
    cert_manager = CertManager(cluster.control_plane, cluster.namespace, schemas)
    cert_manager.install()
    return cert_manager


def standing(cluster: Cluster, ready: tuple[str, str], *, within: float = PATIENCE_SECONDS) -> Any:
    """The binding, once its Ready and IdentityReady are both ``ready``."""

    def look() -> Any:
        found = cluster.binding()
        said = told(found)
        return found if said.get("Ready") == said.get("IdentityReady") == ready else None

    return eventually(f"the binding is {ready}", look, within=within)


def message(binding: dict[str, Any], kind: str = "IdentityReady") -> str:
    return next(str(c["message"]) for c in binding["status"]["conditions"] if c["type"] == kind)


def posted(cluster: Cluster) -> list[tuple[str, str]]:
    return [
        (event["type"], event["reason"])
        for event in sorted(cluster.get("events")["items"], key=lambda one: one["eventTime"] or "")
        if event["involvedObject"]["kind"] == "RolesAnywhereBinding"
    ]


def test_a_certificate_is_asked_for_and_its_way_is_told(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    cluster.apply(identity=asking())
    cluster.leader("controller")
    certificate = cert_manager.certificate()
    binding = standing(cluster, ("False", "CertificatePending"))
    assert told(binding)["Accepted"] == ("True", "Valid")
    assert binding["status"]["identity"] == {"source": "certificate/rolesanywhere-reports"}

    (owner,) = certificate["metadata"]["ownerReferences"]
    assert owner["uid"] == binding["metadata"]["uid"]
    assert certificate["spec"]["secretName"] == "rolesanywhere-reports"
    assert certificate["spec"]["issuerRef"] == {**ISSUER, "group": "cert-manager.io"}
    assert certificate["spec"]["uris"] == [
        f"spiffe://cluster.local/ns/{cluster.namespace}/rolesanywherebinding/reports"
    ]
    assert set(certificate["spec"]["usages"]) == {"client auth", "digital signature"}
    assert certificate["spec"]["privateKey"]["rotationPolicy"] == "Always"

    cert_manager.issues()
    ready = standing(cluster, ("True", "CertificateIssued"))
    assert "valid until 2036-01-01T00:00:00Z" in message(ready)
    assert ready["status"]["identity"] == {
        "source": "certificate/rolesanywhere-reports",
        "notAfter": "2036-01-01T00:00:00Z",
        "algorithm": "ECDSA",
    }
    assert eventually("Events are posted", lambda: posted(cluster)[1:] and posted(cluster)) == [
        ("Normal", "CertificatePending"),
        ("Normal", "CertificateIssued"),
    ]


def test_a_renewal_is_followed_within_seconds_and_is_no_event(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    cluster.apply(identity=asking(commonName="reports"))
    cluster.leader("controller")
    cert_manager.issues()
    before = standing(cluster, ("True", "CertificateIssued"))
    assert before["status"]["identity"]["subject"] == "CN=reports"
    issued = ("Normal", "CertificateIssued")
    eventually("it is an Event", lambda: issued in posted(cluster))

    cert_manager.issues(until="2037-06-01T00:00:00Z")
    eventually(
        "the new end is told",
        lambda: cluster.binding()["status"]["identity"]["notAfter"] == "2037-06-01T00:00:00Z",
        within=5,
    )
    assert posted(cluster).count(issued) == 1
    for old, new in zip(
        before["status"]["conditions"], cluster.binding()["status"]["conditions"], strict=True
    ):
        assert old["lastTransitionTime"] == new["lastTransitionTime"]


def test_what_was_issued_is_told_from_the_request_for_it(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    cluster.apply(identity=asking(commonName="reports"))
    controller = cluster.leader("controller")
    cert_manager.issues(serial=2**72)
    told_of = standing(cluster, ("True", "CertificateIssued"))["status"]["identity"]
    assert told_of == {
        "source": "certificate/rolesanywhere-reports",
        # An issuer has the last word on a subject.
        "subject": "CN=as-issued",
        "serialNumber": str(2**72),
        "notAfter": "2036-01-01T00:00:00Z",
        "algorithm": "ECDSA",
    }
    cert_manager.issues(serial=5, until="2037-06-01T00:00:00Z")

    def next_one() -> tuple[str, str]:
        told_now = cluster.binding()["status"]["identity"]
        return told_now["serialNumber"], told_now["notAfter"]

    eventually("the next one is told", lambda: next_one() == ("5", "2037-06-01T00:00:00Z"))
    assert not controller.lines("cannot see what was issued")


def test_a_failure_is_told_in_cert_managers_own_words(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    cluster.apply(identity=asking())
    cluster.leader("controller")
    cert_manager.fails("the issuer says no")
    failed = standing(cluster, ("False", "CertificateFailed"))
    assert "Failed: the issuer says no" in message(failed)
    eventually("it is an Event", lambda: ("Warning", "CertificateFailed") in posted(cluster))


def test_a_failed_renewal_is_a_warning_while_the_certificate_is_good(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    cluster.apply(identity=asking())
    cluster.leader("controller")
    cert_manager.issues()
    standing(cluster, ("True", "CertificateIssued"))
    cert_manager.fails("the issuer is away", ready=True)
    worried = standing(cluster, ("True", "CertificateRenewalFailed"))
    assert "valid until 2036-01-01T00:00:00Z" in message(worried)
    assert "the issuer is away" in message(worried)
    eventually("it is an Event", lambda: ("Warning", "CertificateRenewalFailed") in posted(cluster))


def test_a_changed_spec_is_followed_and_what_it_drops_is_dropped(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    cluster.apply(identity=asking(dnsNames=["a.example"], duration="24h"))
    cluster.leader("controller")
    cert_manager.issues()
    standing(cluster, ("True", "CertificateIssued"))

    cluster.apply(identity=asking(uris=["spiffe://example.org/reports"], duration="48h"))
    changed = cert_manager.when("48h", lambda one: one["spec"].get("duration") == "48h")
    assert changed["spec"]["uris"] == ["spiffe://example.org/reports"]
    assert "dnsNames" not in changed["spec"]
    # What was issued is not what is asked for any more.
    pending = standing(cluster, ("False", "CertificatePending"))
    assert pending["status"]["identity"]["notAfter"] == "2036-01-01T00:00:00Z"
    cert_manager.issues()
    standing(cluster, ("True", "CertificateIssued"))


def test_what_others_change_is_changed_back_and_what_they_add_is_left(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    cluster.apply(identity=asking())
    cluster.leader("controller")
    uid = cert_manager.certificate()["metadata"]["uid"]
    cert_manager.patch(
        {
            "metadata": {"labels": {"theirs": "yes"}, "ownerReferences": []},
            "spec": {"issuerRef": {"name": "evil"}, "revisionHistoryLimit": 3},
        }
    )
    back = cert_manager.when(
        "the issuer is back",
        lambda one: (
            one["spec"]["issuerRef"]["name"] == "ca" and "ownerReferences" in one["metadata"]
        ),
    )
    assert back["spec"]["revisionHistoryLimit"] == 3
    assert back["metadata"]["labels"]["theirs"] == "yes"
    assert back["metadata"]["uid"] == uid
    cert_manager.patch({"metadata": {"labels": {"rolesanywhere.dev/binding": None}}})
    cert_manager.when(
        "the label is back",
        lambda one: one["metadata"]["labels"].get("rolesanywhere.dev/binding") == "reports",
    )


def test_a_certificate_deleted_by_others_is_asked_for_again(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    cluster.apply(identity=asking())
    cluster.leader("controller")
    uid = cert_manager.certificate()["metadata"]["uid"]
    cluster.control_plane.kubectl("delete", CERTIFICATE, f"--namespace={cluster.namespace}")
    cert_manager.when("another", lambda one: one["metadata"]["uid"] != uid)


def test_a_deleted_binding_takes_its_certificate_along(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    cluster.apply(identity=asking())
    controller = cluster.leader("controller")
    cert_manager.certificate()
    cluster.control_plane.kubectl(
        "delete", "rolesanywherebinding/reports", f"--namespace={cluster.namespace}", PATIENCE
    )
    eventually(
        "it is collected", lambda: not cert_manager.certificates(), within=COLLECTION_SECONDS
    )
    time.sleep(2)
    assert cert_manager.certificates() == []
    assert not controller.lines("binding not settled")


def test_a_binding_made_again_gets_a_certificate_of_its_own(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    cluster.apply(identity=asking())
    cluster.leader("controller")
    cert_manager.certificate()
    cluster.control_plane.kubectl(
        "delete", "rolesanywherebinding/reports", f"--namespace={cluster.namespace}"
    )
    cluster.apply(identity=asking())
    uid = cluster.binding()["metadata"]["uid"]
    eventually(
        "the Certificate is the new binding's",
        lambda: (
            [one["metadata"]["ownerReferences"][0]["uid"] for one in cert_manager.certificates()]
            == [uid]
        ),
        within=COLLECTION_SECONDS,
    )
    standing(cluster, ("False", "CertificatePending"), within=COLLECTION_SECONDS)


def test_another_kind_of_identity_takes_the_certificate_back_but_only_ours(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    cluster.apply(identity=asking())
    cluster.leader("controller")
    cert_manager.certificate()
    foreign = a_foreign_certificate("theirs", labels={"rolesanywhere.dev/binding": "reports"})
    cluster.control_plane.apply(json.dumps(foreign), namespace=cluster.namespace)
    cluster.apply(identity={"secret": {"name": "reports-tls"}})
    eventually(
        "ours is gone",
        lambda: [one["metadata"]["name"] for one in cert_manager.certificates()] == ["theirs"],
    )
    settled = cluster.judged(generation=2)
    assert told(settled)["Ready"] == ("True", "Accepted")
    assert settled["status"]["identity"] == {"source": "secret/reports-tls"}


def a_foreign_certificate(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": name, **metadata},
        "spec": {"secretName": name, "issuerRef": {"name": "other"}, "dnsNames": ["other.example"]},
    }


def test_a_strangers_certificate_of_that_name_is_left_alone(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    foreign = a_foreign_certificate("rolesanywhere-reports")
    cluster.control_plane.apply(json.dumps(foreign), namespace=cluster.namespace)
    before = cert_manager.certificate()
    cluster.apply(identity=asking())
    cluster.leader("controller")
    standing(cluster, ("False", "CertificateConflict"))
    time.sleep(1)
    assert cert_manager.certificate() == before
    eventually("it is an Event", lambda: ("Warning", "CertificateConflict") in posted(cluster))


def test_a_certificate_that_is_refused_is_told_with_the_servers_words(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": cluster.namespace},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["cert-manager.io"], "apiVersions": ["v1"],
                        "operations": ["CREATE"], "resources": ["certificates"],
                    }
                ]
            },
            "validations": [
                {"expression": "object.metadata.name != 'rolesanywhere-reports'",
                 "message": "no certificates on Sundays"}
            ],
        },
    }  # fmt: skip
    bound = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": cluster.namespace},
        "spec": {
            "policyName": cluster.namespace,
            "validationActions": ["Deny"],
            "matchResources": {
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}
                }
            },
        },
    }
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy, bound]})
    cluster.control_plane.apply(manifest)
    try:
        eventually("the policy is in force", lambda: is_refused(cluster))
        cluster.apply(identity=asking())
        cluster.leader("controller")
        refused = standing(cluster, ("False", "CertificateRefused"))
        assert "no certificates on Sundays" in message(refused)
    finally:
        cluster.control_plane.kubectl("delete", "--filename=-", input=manifest)


def is_refused(cluster: Cluster) -> bool:
    foreign = json.dumps(a_foreign_certificate("rolesanywhere-reports"))
    try:
        cluster.control_plane.kubectl(
            "create", "--filename=-", "--dry-run=server", f"--namespace={cluster.namespace}",
            input=foreign,
        )  # fmt: skip
    except KubectlFailed:
        return True
    return False


def test_without_cert_manager_the_condition_says_so_and_it_is_picked_up_when_it_comes(
    cluster: Cluster, absent: CertManager
) -> None:
    cluster.apply(identity=asking())
    controller = cluster.leader("controller")
    missing = standing(cluster, ("False", "CertManagerMissing"))
    assert told(missing)["Accepted"] == ("True", "Valid")
    assert "install it" in message(missing)

    absent.install()
    arrived = time.monotonic()
    absent.certificate()
    assert time.monotonic() - arrived < 20
    absent.issues()
    standing(cluster, ("True", "CertificateIssued"))
    assert controller.popen.poll() is None


def test_without_cert_manager_other_bindings_are_served(
    cluster: Cluster, absent: CertManager
) -> None:
    assert all(schema.exists() for schema in absent.schemas)
    cluster.apply()
    controller = cluster.leader("controller")
    assert told(cluster.judged(generation=1))["Ready"] == ("True", "Accepted")
    cluster.apply(durationSeconds=1800)
    cluster.judged(generation=2)
    assert not controller.lines("binding not settled")


def test_cert_manager_removed_and_installed_again_is_survived(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    cluster.apply(identity=asking())
    controller = cluster.leader("controller")
    cert_manager.issues()
    standing(cluster, ("True", "CertificateIssued"))
    cert_manager.uninstall()
    standing(cluster, ("False", "CertManagerMissing"), within=COLLECTION_SECONDS)
    cert_manager.install()
    cert_manager.certificate()
    cert_manager.issues()
    standing(cluster, ("True", "CertificateIssued"))
    assert controller.popen.poll() is None


@pytest.mark.long
def test_a_controller_killed_in_the_middle_is_continued_by_the_next(
    cluster: Cluster, cert_manager: CertManager
) -> None:
    """Whatever happened meanwhile is seen, and what is settled is not written again."""
    cluster.apply(identity=asking())
    first = cluster.leader("first", lease_duration_seconds=SHORT_LEASE_SECONDS)
    cert_manager.certificate()
    first.popen.kill()
    cert_manager.issues()
    cert_manager.patch({"spec": {"issuerRef": {"name": "evil"}}})

    second = cluster.leader("second", lease_duration_seconds=SHORT_LEASE_SECONDS)
    cert_manager.when("the issuer is back", lambda one: one["spec"]["issuerRef"]["name"] == "ca")
    standing(cluster, ("False", "CertificatePending"))
    cert_manager.issues()
    standing(cluster, ("True", "CertificateIssued"))
    eventually("its pods are counted", lambda: "pods" in cluster.binding()["status"])
    settled, certificate = cluster.binding(), cert_manager.certificate()

    second.popen.terminate()
    second.popen.wait(PATIENCE_SECONDS)
    cluster.leader("third")
    time.sleep(3)
    assert cluster.binding() == settled
    assert cert_manager.certificate() == certificate
