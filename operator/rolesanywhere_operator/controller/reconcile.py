"""What the status of a binding should say.

A judgement is a value computed from what was observed and a time. Nothing here asks the cluster:
whether the Secret of a binding exists is not known, because the operator may not read Secrets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_operator.domain import bindings, issuance
from rolesanywhere_operator.domain.bindings import Binding, Entry
from rolesanywhere_operator.domain.conditions import Condition, Reason, Truth, find, revised
from rolesanywhere_operator.domain.identities import Identity, SecretIdentity, TokenIdentity
from rolesanywhere_operator.domain.issuance import IDENTITY_READY, Issuance, Leaf
from rolesanywhere_operator.domain.untyped import mapping

ACCEPTED: Final = "Accepted"
READY: Final = "Ready"

# What is announced as a warning though pods are served, and what is not though they are not yet.
_WORRYING: Final = (Reason.CERTIFICATE_RENEWAL_FAILED,)
_USUAL: Final = (Reason.CERTIFICATE_PENDING,)


@dataclass(frozen=True, slots=True)
class Announcement:
    """An Event worth posting: ``Ready`` has changed, or is false for another reason."""

    type: str
    reason: str
    message: str


def judge(
    body: Mapping[str, Any],
    entry: Entry,
    *,
    now: datetime,
    issued: Issuance | None = None,
    leaf: Leaf | None = None,
) -> dict[str, Any]:
    """The status of the binding ``body``, as far as it is ours; ``identity`` None removes it.

    ``entry`` is ``body`` as it was read, ``issued`` what came of what it asks for, and ``leaf`` the
    certificate itself, where that is known. ``Ready`` means that everything the operator can see is
    in order: pods that ask are given a sidecar that finds an identity. One that nobody but the
    sidecars may see does not hold it back.
    """
    generation = int(body["metadata"]["generation"])
    held = mapping(body.get("status")).get("conditions") or []
    statements = _statements(entry, issued, now)
    return {
        "observedGeneration": generation,
        "identity": _identity(entry, issued, leaf),
        "conditions": revised(held, statements, generation=generation, now=now),
    }


def changes(body: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that makes the binding's status say ``status``; empty when it does.

    What ``status`` does not name at all is not ours.
    """
    before = mapping(body.get("status"))
    return {
        name: _merge(before.get(name), value)
        for name, value in status.items()
        if before.get(name) != value
    }


def announcement(body: Mapping[str, Any], status: Mapping[str, Any]) -> Announcement | None:
    """What ``kubectl describe`` should tell of the way from the binding's status to ``status``."""
    before = find(mapping(body.get("status")).get("conditions") or [], READY)
    after = find(status["conditions"], READY)
    if after is None or _told(before) == _told(after):
        return None
    usual = (after["status"] == Truth.TRUE or after["reason"] in _USUAL) and (
        after["reason"] not in _WORRYING
    )
    return Announcement("Normal" if usual else "Warning", after["reason"], after["message"])


def _merge(before: object, after: object) -> object:
    """``after`` as a merge patch on ``before``, which keeps what is not named (RFC 7396)."""
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return after
    return {**after, **dict.fromkeys(before.keys() - after.keys())}


def _identity(entry: Entry, issued: Issuance | None, leaf: Leaf | None) -> dict[str, str] | None:
    """Where the identity comes from, and what is known of it."""
    if not isinstance(entry, Binding):
        return None
    return {"source": str(entry.identity), **(issuance.identity(issued, leaf) if issued else {})}


def _statements(entry: Entry, issued: Issuance | None, now: datetime) -> tuple[Condition, ...]:
    if not isinstance(entry, Binding):
        return _refused(entry)
    if (refusal := bindings.not_allowed(entry)) is not None:
        return _refused(refusal)
    identity = _unseen(entry.identity) if issued is None else issuance.condition(issued, now=now)
    return (
        Condition(ACCEPTED, Truth.TRUE, Reason.VALID, "The spec makes sense to this version."),
        identity,
        _ready(identity),
    )


def _unseen(identity: Identity) -> Condition:
    """What may be said of an identity that only a pod can see."""
    if isinstance(identity, SecretIdentity):
        reason, why = Reason.NOT_OBSERVED, f"The operator may not read {identity}"
    elif isinstance(identity, TokenIdentity):
        reason, why = Reason.NOT_OBSERVED, f"The operator cannot look into {identity}"
    else:
        reason, why = Reason.PER_POD, f"Each pod is given an identity of its own ({identity})"
    checked = "each pod's sidecar checks it, and is ready when it holds credentials."
    return Condition(IDENTITY_READY, Truth.UNKNOWN, reason, f"{why}; {checked}")


def _ready(identity: Condition) -> Condition:
    """Ready is what the identity is, and an identity that cannot be seen is not doubted."""
    if identity.status == Truth.UNKNOWN:
        return Condition(
            READY, Truth.TRUE, Reason.ACCEPTED, "Pods that ask for it are given a sidecar."
        )
    return Condition(READY, identity.status, identity.reason, identity.message)


def _refused(error: RolesAnywhereError) -> tuple[Condition, ...]:
    return (
        Condition(ACCEPTED, Truth.FALSE, error.code, str(error)),
        Condition(
            IDENTITY_READY, Truth.UNKNOWN, Reason.NOT_ACCEPTED, "The binding is not accepted."
        ),
        Condition(READY, Truth.FALSE, error.code, str(error)),
    )


def _told(condition: Mapping[str, Any] | None) -> tuple[object, object] | None:
    return None if condition is None else (condition.get("status"), condition.get("reason"))
