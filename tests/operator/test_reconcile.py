"""What the controller says of a binding, and when it says nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from rolesanywhere_operator.controller import reconcile
from rolesanywhere_operator.controller.reconcile import announcement, changes
from rolesanywhere_operator.domain import bindings

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def a_binding(*, status: Any = None, generation: int = 1, **spec: Any) -> dict[str, Any]:
    anchor = "arn:aws:rolesanywhere:eu-west-1:111122223333"
    return {
        "apiVersion": "rolesanywhere.dev/v1alpha1",
        "kind": "RolesAnywhereBinding",
        "metadata": {"name": "reports", "namespace": "team-a", "generation": generation},
        "spec": {
            "trustAnchorArn": f"{anchor}:trust-anchor/11111111-2222-3333-4444-555555555555",
            "profileArn": f"{anchor}:profile/11111111-2222-3333-4444-555555555555",
            "roleArn": "arn:aws:iam::111122223333:role/reports",
            "identity": {"secret": {"name": "reports-tls"}},
            **spec,
        },
        **({} if status is None else {"status": status}),
    }


def judge(body: dict[str, Any], *, now: datetime) -> dict[str, Any]:
    return reconcile.judge(body, bindings.read(body, host_paths=frozenset()), now=now)


def told(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def message(status: dict[str, Any], kind: str) -> str:
    return next(str(c["message"]) for c in status["conditions"] if c["type"] == kind)


def test_a_good_binding_is_accepted_and_ready() -> None:
    status = judge(a_binding(), now=NOON)
    assert told(status) == {
        "Accepted": ("True", "Valid"),
        "IdentityReady": ("Unknown", "NotObserved"),
        "Ready": ("True", "Accepted"),
    }
    assert status["identity"] == {"source": "secret/reports-tls"}


def test_what_the_operator_may_not_see_it_does_not_claim() -> None:
    status = judge(a_binding(), now=NOON)
    assert "may not read secret/reports-tls" in message(status, "IdentityReady")


def test_the_generation_that_was_judged_is_named_everywhere() -> None:
    status = judge(a_binding(generation=7), now=NOON)
    assert status["observedGeneration"] == 7
    assert {condition["observedGeneration"] for condition in status["conditions"]} == {7}


SERVER = {"uri": "pkcs11:token=t", "server": {"socketDirectory": "/run/p11"}}


def test_folders_of_the_node_that_are_not_allowed_are_told() -> None:
    status = judge(a_binding(identity={"pkcs11": SERVER}), now=NOON)
    assert told(status) == {
        "Accepted": ("False", "HostPathNotAllowed"),
        "IdentityReady": ("Unknown", "NotAccepted"),
        "Ready": ("False", "HostPathNotAllowed"),
    }
    assert "needs /run/p11 of the node" in message(status, "Accepted")
    assert status["identity"] == {"source": "pkcs11:token=t"}


def test_a_token_that_nobody_but_the_sidecar_sees_is_not_doubted() -> None:
    status = judge(a_binding(identity={"pkcs11": {"uri": "pkcs11:token=t"}}), now=NOON)
    assert told(status)["IdentityReady"] == ("Unknown", "NotObserved")
    assert told(status)["Ready"] == ("True", "Accepted")
    assert "cannot look into pkcs11:token=t" in message(status, "IdentityReady")


@pytest.mark.parametrize("kind", ["Accepted", "Ready"])
def test_a_mistake_is_told_as_a_sentence(kind: str) -> None:
    status = judge(a_binding(roleArn="admin"), now=NOON)
    assert told(status)[kind] == ("False", "InvalidBinding")
    assert "spec.roleArn" in message(status, kind)
    assert "'admin'" in message(status, kind)


def test_every_mistake_is_told_at_once() -> None:
    said = message(judge(a_binding(roleArn="admin", durationSeconds=1), now=NOON), "Accepted")
    assert "spec.roleArn" in said
    assert "spec.durationSeconds" in said


def test_a_binding_that_stops_making_sense_loses_its_source() -> None:
    before = judge(a_binding(), now=NOON)
    broken = a_binding(status=before, generation=2, identity={})
    assert changes(broken, judge(broken, now=LATER))["identity"] is None


def test_nothing_is_written_when_nothing_changed() -> None:
    settled = a_binding(status=judge(a_binding(), now=NOON))
    assert changes(settled, judge(settled, now=LATER)) == {}


def test_what_others_wrote_into_the_status_is_left_alone() -> None:
    status = judge(a_binding(), now=NOON) | {"pods": {"injected": 3}, "kopf": {"lastHandled": "{}"}}
    settled = a_binding(status=status)
    assert changes(settled, judge(settled, now=LATER)) == {}


def test_a_new_generation_is_written_without_a_transition() -> None:
    changed = a_binding(status=judge(a_binding(), now=NOON), generation=2, durationSeconds=900)
    written = changes(changed, judge(changed, now=LATER))
    assert set(written) == {"observedGeneration", "conditions"}
    assert {c["lastTransitionTime"] for c in written["conditions"]} == {"2026-03-01T12:00:00Z"}


def test_becoming_ready_is_announced_once() -> None:
    first = judge(a_binding(), now=NOON)
    news = announcement(a_binding(), first)
    assert news is not None
    assert (news.type, news.reason) == ("Normal", "Accepted")
    settled = a_binding(status=first, generation=2)
    assert announcement(settled, judge(settled, now=LATER)) is None


def test_a_refusal_is_announced_as_a_warning_with_its_sentence() -> None:
    refused = a_binding(status=judge(a_binding(), now=NOON), roleArn="admin")
    status = judge(refused, now=LATER)
    news = announcement(refused, status)
    assert news is not None
    assert (news.type, news.reason) == ("Warning", "InvalidBinding")
    assert news.message == message(status, "Ready")


def test_another_reason_for_the_same_refusal_is_news() -> None:
    first = judge(a_binding(roleArn="admin"), now=NOON)
    other = a_binding(status=first, identity={"pkcs11": SERVER})
    news = announcement(other, judge(other, now=LATER))
    assert news is not None
    assert news.reason == "HostPathNotAllowed"


def test_a_status_that_is_no_object_is_as_good_as_none() -> None:
    assert told(judge(a_binding(status="broken"), now=NOON))["Accepted"] == ("True", "Valid")


def with_a_certificate(*conditions: tuple[str, str], **status: Any) -> dict[str, Any]:
    """What is said of a binding whose Certificate has ``conditions`` (type, status)."""
    told = [{"type": kind, "status": truth, "reason": "Word"} for kind, truth in conditions]
    certificate = {
        "metadata": {"name": "rolesanywhere-reports"},
        "spec": {"privateKey": {"algorithm": "RSA"}},
        "status": {"conditions": told, **status},
    }
    return reconcile.judge(ASKING, bindings.read(ASKING), now=NOON, issued=certificate)


ASKING = a_binding(identity={"certManager": {"issuerRef": {"name": "ca"}}})
END: Final = "2026-06-01T00:00:00Z"


def test_ready_is_what_the_identity_is() -> None:
    status = with_a_certificate(("Ready", "True"), notAfter=END)
    assert told(status)["Ready"] == told(status)["IdentityReady"] == ("True", "CertificateIssued")
    assert status["identity"] == {
        "source": "certificate/rolesanywhere-reports", "notAfter": END, "algorithm": "RSA",
    }  # fmt: skip


def test_a_renewal_that_fails_is_a_warning_though_ready_stays_true() -> None:
    issued = with_a_certificate(("Ready", "True"), notAfter=END)
    failing = with_a_certificate(("Ready", "True"), notAfter=END, lastFailureTime=END)
    news = announcement(a_binding(status=issued), failing)
    assert news is not None
    assert (news.type, news.reason) == ("Warning", "CertificateRenewalFailed")
    back = announcement(a_binding(status=failing), issued)
    assert back is not None
    assert (back.type, back.reason) == ("Normal", "CertificateIssued")


def test_what_is_known_of_an_identity_no_longer_is_removed_by_name() -> None:
    """A merge patch keeps what it does not name (RFC 7396)."""
    issued = with_a_certificate(("Ready", "True"), notAfter=END)
    other = a_binding(status=issued, generation=2)
    assert changes(other, judge(other, now=LATER))["identity"] == {
        "source": "secret/reports-tls", "notAfter": None, "algorithm": None,
    }  # fmt: skip


def test_what_only_pods_can_see_is_not_doubted() -> None:
    identity = {"podCertificate": {"signerName": "example.com/x", "keyType": "ECDSAP256"}}
    status = judge(a_binding(identity=identity), now=NOON)
    assert told(status)["IdentityReady"] == ("Unknown", "PerPod")
    assert told(status)["Ready"] == ("True", "Accepted")
