"""What the status of a binding should say.

A judgement is a value computed from the object and a time. Nothing here asks the cluster: whether
the Secret of a binding exists is not known, because the operator may not read Secrets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_operator.domain import bindings
from rolesanywhere_operator.domain.conditions import Condition, Truth, find, revised
from rolesanywhere_operator.domain.untyped import mapping

ACCEPTED: Final = "Accepted"
IDENTITY_READY: Final = "IdentityReady"
READY: Final = "Ready"


@dataclass(frozen=True, slots=True)
class Announcement:
    """An Event worth posting: ``Ready`` has changed, or is false for another reason."""

    type: str
    reason: str
    message: str


def judge(body: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """The status of the binding ``body``, as far as it is ours; ``identity`` None removes it.

    ``Ready`` means that everything the operator can see is in order: pods that ask are given a
    sidecar. An identity that nobody but the sidecars may see does not hold it back.
    """
    generation = int(body["metadata"]["generation"])
    source, statements = _statements(body)
    held = mapping(body.get("status")).get("conditions") or []
    return {
        "observedGeneration": generation,
        "identity": source and {"source": source},
        "conditions": revised(held, statements, generation=generation, now=now),
    }


def changes(body: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """The part of ``status`` that the binding does not say yet; nothing to write when empty."""
    before = mapping(body.get("status"))
    return {name: value for name, value in status.items() if before.get(name) != value}


def announcement(body: Mapping[str, Any], status: Mapping[str, Any]) -> Announcement | None:
    """What ``kubectl describe`` should tell of the way from the binding's status to ``status``."""
    before = find(mapping(body.get("status")).get("conditions") or [], READY)
    after = find(status["conditions"], READY)
    if after is None or _told(before) == _told(after):
        return None
    kind = "Normal" if after["status"] == Truth.TRUE else "Warning"
    return Announcement(kind, after["reason"], after["message"])


def _statements(body: Mapping[str, Any]) -> tuple[str | None, tuple[Condition, ...]]:
    """Where the identity comes from, if that can be told, and what is true of the binding."""
    try:
        binding = bindings.parse(body)
    except bindings.InvalidBinding as wrong:
        return None, _refused(wrong)
    source = str(binding.identity)
    if (unsupported := bindings.unsupported(binding)) is not None:
        return source, _refused(unsupported)
    return source, _accepted(source)


def _accepted(source: str) -> tuple[Condition, ...]:
    return (
        Condition(ACCEPTED, Truth.TRUE, "Valid", "The spec makes sense to this version."),
        Condition(
            IDENTITY_READY,
            Truth.UNKNOWN,
            "NotObserved",
            f"The operator may not read {source}; each pod's sidecar checks it, and is ready when"
            " it holds credentials.",
        ),
        Condition(READY, Truth.TRUE, "Accepted", "Pods that ask for it are given a sidecar."),
    )


def _refused(error: RolesAnywhereError) -> tuple[Condition, ...]:
    return (
        Condition(ACCEPTED, Truth.FALSE, error.code, str(error)),
        Condition(IDENTITY_READY, Truth.UNKNOWN, "NotAccepted", "The binding is not accepted."),
        Condition(READY, Truth.FALSE, error.code, str(error)),
    )


def _told(condition: Mapping[str, Any] | None) -> tuple[object, object] | None:
    return None if condition is None else (condition.get("status"), condition.get("reason"))
