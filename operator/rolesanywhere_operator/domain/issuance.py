"""What a Certificate tells of the identity that cert-manager keeps, and what keeps it from one.

Never looks into its Secret: what was issued is known from the request for it, which is public.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rolesanywhere_operator.domain.conditions import Condition, Reason, Truth, find
from rolesanywhere_operator.domain.untyped import items, mapping

IDENTITY_READY: Final = "IdentityReady"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why there is no Certificate for a binding; ``reason`` as in a condition."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """What was issued: ``subject`` after RFC 4514, ``serial_number`` in decimal, as CloudTrail has
    it, ``not_after`` after RFC 3339. What is not known is empty.
    """

    subject: str
    serial_number: str
    not_after: str
    algorithm: str


# A Certificate as the API server holds it, or why there is none.
Issuance = Mapping[str, Any] | Obstacle


def condition(issuance: Issuance, *, now: datetime) -> Condition:
    """Whether the identity that ``issuance`` tells of can be used at ``now``."""
    if isinstance(issuance, Obstacle):
        return Condition(IDENTITY_READY, Truth.FALSE, issuance.reason, issuance.message)
    truth, reason, message = _judged(issuance, now)
    return Condition(IDENTITY_READY, truth, reason, f"{_named(issuance)}: {message}")


def identity(issuance: Issuance, leaf: Leaf | None = None) -> dict[str, str]:
    """What ``status.identity`` says of the certificate: of ``leaf``, or what the Certificate tells.

    That is the end alone while it is about to be replaced: the rest is of the next.
    """
    if isinstance(issuance, Obstacle):
        return {}
    if leaf is not None:
        told = {
            "subject": leaf.subject,
            "serialNumber": leaf.serial_number,
            "notAfter": leaf.not_after,
            "algorithm": leaf.algorithm,
        }
        return {name: text for name, text in told.items() if text}
    spec, status = mapping(issuance.get("spec")), mapping(issuance.get("status"))
    if not status.get("notAfter"):
        return {}
    told = {"notAfter": str(status["notAfter"])}
    if not _is_current(issuance):
        return told
    if spec.get("commonName"):
        told["subject"] = f"CN={_escaped(str(spec['commonName']))}"
    return {**told, "algorithm": str(mapping(spec.get("privateKey")).get("algorithm"))}


def _judged(certificate: Mapping[str, Any], now: datetime) -> tuple[Truth, Reason, str]:
    status = mapping(certificate.get("status"))
    ready, failure = find(items(status.get("conditions")), "Ready"), _failure(status)
    if ready is None or _is_stale(certificate, ready):
        return (
            Truth.FALSE,
            Reason.CERTIFICATE_PENDING,
            "cert-manager has not looked at it since it was asked for.",
        )
    if ready.get("status") != Truth.TRUE:
        reason = (
            Reason.CERTIFICATE_EXPIRED
            if ready.get("reason") == "Expired"
            else Reason.CERTIFICATE_FAILED
            if failure
            else Reason.CERTIFICATE_PENDING
        )
        return Truth.FALSE, reason, _quoted(failure or ready)
    if _is_over(status.get("notAfter"), now):
        return (
            Truth.FALSE,
            Reason.CERTIFICATE_EXPIRED,
            f"the certificate expired at {status['notAfter']} and cert-manager has not renewed it;"
            " see whether cert-manager runs.",
        )
    if failure:
        until = status.get("notAfter", "an unknown time")
        return (
            Truth.TRUE,
            Reason.CERTIFICATE_RENEWAL_FAILED,
            f"the certificate is valid until {until}, but its renewal failed: {_quoted(failure)}",
        )
    return Truth.TRUE, Reason.CERTIFICATE_ISSUED, _dates(status)


def _failure(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What cert-manager says of its last attempt to issue, if that failed.

    The time of a failure stands until a success, while the Issuing condition changes with each
    attempt: a retry is no news.
    """
    if not status.get("lastFailureTime"):
        return None
    return find(items(status.get("conditions")), "Issuing") or {"reason": "Failed"}


def _is_current(certificate: Mapping[str, Any]) -> bool:
    """Whether the certificate that was issued is the one that the spec asks for."""
    ready = find(items(mapping(certificate.get("status")).get("conditions")), "Ready")
    if ready is None or ready.get("status") != Truth.TRUE:
        return False
    return not _is_stale(certificate, ready)


def _is_stale(certificate: Mapping[str, Any], ready: Mapping[str, Any]) -> bool:
    """Whether cert-manager speaks of an earlier spec; before 1.4 it did not say."""
    seen = ready.get("observedGeneration")
    generation = mapping(certificate.get("metadata")).get("generation")
    return isinstance(seen, int) and isinstance(generation, int) and seen < generation


def _is_over(end: object, now: datetime) -> bool:
    moment = _moment(end)
    return moment is not None and moment <= now


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _dates(status: Mapping[str, Any]) -> str:
    end, renewal = status.get("notAfter"), status.get("renewalTime")
    valid = f"issued, valid until {end}" if end else "issued"
    return f"{valid}; renewed from {renewal}." if renewal else f"{valid}."


def _quoted(condition: Mapping[str, Any]) -> str:
    """cert-manager's own words."""
    return f"{condition.get('reason')}: {condition.get('message') or 'without a message'}"


def _named(certificate: Mapping[str, Any]) -> str:
    return f"Certificate {mapping(certificate.get('metadata')).get('name')}"


def _escaped(name: str) -> str:
    """``name`` as an attribute's value (RFC 4514, section 2.4)."""
    text = "".join(f"\\{char}" if char in '\\",+;<>' else char for char in name)
    text = f"\\{text}" if text.startswith((" ", "#")) else text
    return f"{text[:-1]}\\ " if text.endswith(" ") and text != "\\ " else text
