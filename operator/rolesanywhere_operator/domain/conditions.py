"""Status conditions as the Kubernetes API conventions want them, and their transitions.

Never reads a clock and never judges: what is true, and when, come from the caller.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Truth(StrEnum):
    """The three values of a condition's ``status``."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why a condition is as it is, but for a binding's mistakes, which have the codes of errors.

    Released words never change.
    """

    VALID = "Valid"
    NOT_ACCEPTED = "NotAccepted"
    NOT_OBSERVED = "NotObserved"
    PER_POD = "PerPod"
    ACCEPTED = "Accepted"
    CERTIFICATE_ISSUED = "CertificateIssued"
    CERTIFICATE_RENEWAL_FAILED = "CertificateRenewalFailed"
    CERTIFICATE_PENDING = "CertificatePending"
    CERTIFICATE_FAILED = "CertificateFailed"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_CONFLICT = "CertificateConflict"
    CERTIFICATE_REFUSED = "CertificateRefused"
    CERT_MANAGER_MISSING = "CertManagerMissing"
    DRIVER_MISSING = "DriverMissing"
    DRIVER_UNFIT = "DriverUnfit"
    POD_CERTIFICATES_NOT_SERVED = "PodCertificatesNotServed"
    POD_SECURITY_FORBIDS = "PodSecurityForbids"


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement about an object.

    ``reason`` is one CamelCase word that programs may rely on; ``message`` is for people.
    """

    type: str
    status: Truth
    reason: str
    message: str


def revised(
    conditions: Sequence[Mapping[str, Any]],
    statements: Iterable[Condition],
    *,
    generation: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """``conditions`` with ``statements`` set, in the order of their types.

    ``generation`` is the one of the spec that was judged. ``lastTransitionTime`` moves only when a
    status does (API conventions, "Typical status properties"); conditions of other types stay.
    """
    held = {str(condition.get("type")): dict(condition) for condition in conditions}
    for statement in statements:
        before = held.get(statement.type)
        held[statement.type] = {
            "type": statement.type,
            "status": str(statement.status),
            "observedGeneration": generation,
            "lastTransitionTime": _transition(before, statement, now),
            "reason": statement.reason,
            "message": statement.message,
        }
    return [held[kind] for kind in sorted(held)]


def find(conditions: Iterable[Mapping[str, Any]], kind: str) -> Mapping[str, Any] | None:
    """The condition of type ``kind``, if it has been stated."""
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def _transition(before: Mapping[str, Any] | None, statement: Condition, now: datetime) -> str:
    if before is not None and before.get("status") == statement.status:
        since = before.get("lastTransitionTime")
        if isinstance(since, str):
            return since
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
