"""Pods that ask for credentials and were created without a sidecar, and what to tell of them.

Seen by metadata alone: whether a pod that carries our mark has a sidecar is not looked into.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rolesanywhere_operator.domain import events, marks, pods, selection
from rolesanywhere_operator.domain.pods import Json
from rolesanywhere_operator.domain.untyped import items, mapping

REASON: Final = "NotInjected"

# What the kubelet runs from a file, and only shows to the API server, which asks no webhook that
# could change it (Kubernetes documentation, "Create static Pods").
_MIRROR: Final = "kubernetes.io/config.mirror"


@dataclass(frozen=True, slots=True)
class Object:
    """What an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Straggler:
    """A pod that went without; ``subject`` is its controller, or itself where it has none."""

    subject: Object
    name: str
    uid: str
    created: str


@dataclass(frozen=True, slots=True)
class Group:
    """All of a subject's pods that went without: ``first`` is the oldest."""

    subject: Object
    first: Straggler
    size: int


def read(pod: Json) -> Straggler | None:
    """``pod`` if it asks and went without; None too for one that is about to go."""
    metadata = pods.metadata(pod)
    if metadata.get("deletionTimestamp") or _MIRROR in pods.annotations(pod):
        return None
    if marks.read(pod) is not None or not selection.asks(pod):
        return None
    name, uid = str(metadata.get("name")), str(metadata.get("uid"))
    return Straggler(_subject(metadata), name, uid, str(metadata.get("creationTimestamp")))


def grouped(stragglers: Iterable[Straggler]) -> dict[Object, Group]:
    """One group a subject, in the order in which subjects turn up."""
    groups: dict[Object, Group] = {}
    for one in stragglers:
        before = groups.get(one.subject)
        if before is None:
            groups[one.subject] = Group(one.subject, one, 1)
        else:
            first = min(before.first, one, key=lambda pod: (pod.created, pod.uid))
            groups[one.subject] = Group(one.subject, first, before.size + 1)
    return groups


def sentence(group: Group) -> str:
    """What happened and what to do, for whoever reads ``kubectl describe``."""
    why = (
        "the webhook was not asked when it was created: it was not installed yet, was away, or is"
        " kept out of this namespace"
    )
    if group.subject.kind == "Pod":
        return (
            f"This pod asks for AWS credentials and has no sidecar, because {why}. Delete it and"
            " create it again."
        )
    return (
        f"{group.size} of its pods ask for AWS credentials and have no sidecar, the oldest is"
        f" {group.first.name}, because {why}. Delete each; {group.subject.kind}"
        f" {group.subject.name} makes a new one, with a sidecar."
    )


def event(group: Group, *, now: datetime, reporter: str) -> dict[str, Any]:
    """The Event that tells it; the same group is told under the same name, whoever tells it."""
    subject = group.subject
    about = {
        "apiVersion": subject.api_version,
        "kind": subject.kind,
        "metadata": {"namespace": subject.namespace, "name": subject.name, "uid": subject.uid},
    }
    told = events.manifest(
        about,
        kind="Warning",
        reason=REASON,
        message=sentence(group),
        now=now,
        reporter=reporter,
    )
    digest = hashlib.sha256(f"{subject.uid}/{group.first.uid}".encode()).hexdigest()[:16]
    told["metadata"] = {"namespace": subject.namespace, "name": f"rolesanywhere-{digest}"}
    return told


def _subject(metadata: Json) -> Object:
    namespace = str(metadata.get("namespace"))
    for owner in map(mapping, items(metadata.get("ownerReferences"))):
        if owner.get("controller") is True:
            api_version, kind = str(owner.get("apiVersion")), str(owner.get("kind"))
            return Object(
                api_version, kind, namespace, str(owner.get("name")), str(owner.get("uid"))
            )
    return Object("v1", "Pod", namespace, str(metadata.get("name")), str(metadata.get("uid")))
