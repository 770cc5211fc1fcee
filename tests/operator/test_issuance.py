"""What a Certificate's status makes of a binding's identity."""

from datetime import UTC, datetime
from typing import Any

import pytest

from rolesanywhere_operator.domain import issuance
from rolesanywhere_operator.domain.conditions import Reason
from rolesanywhere_operator.domain.issuance import Obstacle
from rolesanywhere_operator.domain.subjects import common_names

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TOMORROW = "2026-03-02T12:00:00Z"


def a_certificate(
    *conditions: tuple[str, str, str], generation: int = 2, seen: int = 2, **status: Any
) -> dict[str, Any]:
    """A Certificate whose conditions are (type, status, reason)."""
    told = [
        {"type": kind, "status": truth, "reason": reason, "message": f"{reason} it is",
         "observedGeneration": seen}
        for kind, truth, reason in conditions
    ]  # fmt: skip
    return {
        "metadata": {"name": "rolesanywhere-reports", "generation": generation},
        "spec": {"commonName": "reports", "privateKey": {"algorithm": "ECDSA"}},
        "status": {"conditions": told, **status},
    }


READY = ("Ready", "True", "Ready")
NOT_READY = ("Ready", "False", "DoesNotExist")
FAILED = ("Issuing", "False", "Failed")
RENEWING = ("Issuing", "True", "Renewing")
RETRYING = ("Issuing", "True", "DoesNotExist")
FAILURE: dict[str, Any] = {"lastFailureTime": "2026-03-01T11:00:00Z"}
DATES: dict[str, Any] = {"notAfter": TOMORROW, "renewalTime": "2026-03-02T04:00:00Z"}


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        (a_certificate(READY, **DATES), ("True", "CertificateIssued")),
        (a_certificate(READY), ("True", "CertificateIssued")),
        (a_certificate(READY, RENEWING, **DATES), ("True", "CertificateIssued")),
        (a_certificate(READY, FAILED, **FAILURE, **DATES), ("True", "CertificateRenewalFailed")),
        (a_certificate(READY, RETRYING, **FAILURE, **DATES), ("True", "CertificateRenewalFailed")),
        (a_certificate(NOT_READY), ("False", "CertificatePending")),
        (a_certificate(NOT_READY, RETRYING), ("False", "CertificatePending")),
        (a_certificate(NOT_READY, FAILED, **FAILURE), ("False", "CertificateFailed")),
        (a_certificate(NOT_READY, RETRYING, **FAILURE), ("False", "CertificateFailed")),
        (a_certificate(NOT_READY, **FAILURE), ("False", "CertificateFailed")),
        (a_certificate(), ("False", "CertificatePending")),
        ({"metadata": {"name": "x"}}, ("False", "CertificatePending")),
        ({"metadata": {"name": "x"}, "status": "broken"}, ("False", "CertificatePending")),
        (a_certificate(READY, seen=1, **DATES), ("False", "CertificatePending")),
        (a_certificate(("Ready", "False", "Expired")), ("False", "CertificateExpired")),
        (a_certificate(READY, notAfter="2026-03-01T12:00:00Z"), ("False", "CertificateExpired")),
        (a_certificate(READY, notAfter="once"), ("True", "CertificateIssued")),
        (Obstacle(Reason.CERT_MANAGER_MISSING, "install it"), ("False", "CertManagerMissing")),
    ],
)  # fmt: skip
def test_a_certificates_standing(certificate: Any, expected: tuple[str, str]) -> None:
    told = issuance.condition(certificate, now=NOON)
    assert (told.status, told.reason) == expected
    assert told.message


def test_a_retry_after_a_failure_is_no_news() -> None:
    """cert-manager's Issuing condition comes and goes with each attempt."""
    words = {
        issuance.condition(a_certificate(NOT_READY, issuing, **FAILURE), now=NOON).reason
        for issuing in (FAILED, RETRYING, FAILED)
    }
    assert words == {"CertificateFailed"}


def test_cert_managers_own_words_are_told() -> None:
    said = issuance.condition(a_certificate(NOT_READY), now=NOON).message
    assert said == "Certificate rolesanywhere-reports: DoesNotExist: DoesNotExist it is"
    failed = issuance.condition(a_certificate(NOT_READY, FAILED, **FAILURE), now=NOON).message
    assert failed == "Certificate rolesanywhere-reports: Failed: Failed it is"


def test_the_end_and_the_renewal_are_told() -> None:
    said = issuance.condition(a_certificate(READY, **DATES), now=NOON).message
    assert TOMORROW in said
    assert DATES["renewalTime"] in said


def test_an_issued_certificate_is_described() -> None:
    assert issuance.identity(a_certificate(READY, **DATES)) == {
        "subject": "CN=reports", "notAfter": TOMORROW, "algorithm": "ECDSA",
    }  # fmt: skip


def test_of_a_certificate_about_to_be_replaced_only_the_end_is_known() -> None:
    for certificate in (a_certificate(READY, seen=1, **DATES), a_certificate(NOT_READY, **DATES)):
        assert issuance.identity(certificate) == {"notAfter": TOMORROW}


def test_before_the_first_certificate_nothing_is_described() -> None:
    assert issuance.identity(a_certificate(NOT_READY)) == {}
    assert issuance.identity(Obstacle(Reason.CERT_MANAGER_MISSING, "install it")) == {}


@pytest.mark.parametrize("name", ["reports", " a ", "a,b=c", '#"x"', "\\", "a+b;<c>", " "])
def test_a_subject_is_written_as_it_is_read(name: str) -> None:
    certificate = a_certificate(READY, **DATES)
    certificate["spec"]["commonName"] = name
    assert list(common_names(issuance.identity(certificate)["subject"])) == [name]
