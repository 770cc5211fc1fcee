"""The pod that a manifest makes: its own, or the one that a controller makes of its template.

Never decides what becomes of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_operator.domain import shapes
from rolesanywhere_operator.domain.untyped import mapping

Json = Mapping[str, Any]

_TEMPLATE: Final = ("spec", "template")

# Where a kind keeps the pod that it makes.
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": (),
    "Deployment": _TEMPLATE,
    "StatefulSet": _TEMPLATE,
    "DaemonSet": _TEMPLATE,
    "ReplicaSet": _TEMPLATE,
    "ReplicationController": _TEMPLATE,
    "Job": _TEMPLATE,
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


class MisshapenManifest(RolesAnywhereError):
    """A manifest that no API server would take for what it says it is."""

    code = "MisshapenManifest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A manifest that makes pods, and the ``pod`` as admission would meet it.

    ``namespace`` is empty where the manifest names none; ``at`` leads to the pod within the
    manifest, with a dot at its end unless it is the pod.
    """

    kind: str
    name: str
    namespace: str
    at: str
    pod: Json
    own_annotations: Json

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def read(manifest: Json) -> Workload | None:
    """The workload that ``manifest`` is, None when it is something else.

    Raises `MisshapenManifest`.
    """
    kind = manifest.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        return None
    metadata = mapping(manifest.get("metadata"))
    name = str(metadata.get("name") or f"{metadata.get('generateName') or ''}*")
    at = "".join(f"{step}." for step in KINDS[kind])
    template: Any = manifest
    for step in KINDS[kind]:
        template = mapping(template).get(step)
    wrong = shapes.fault(manifest.get("metadata"), shapes.POD["metadata"], "metadata") or (
        f"{at.rstrip('.')} is missing"
        if template is None
        else shapes.fault(template, shapes.POD, at.rstrip("."))
    )
    if wrong:
        raise MisshapenManifest(f"{kind} {name}: {wrong}")
    return Workload(
        kind=kind,
        name=name,
        namespace=str(metadata.get("namespace") or ""),
        at=at,
        pod=manifest if kind == "Pod" else _made_of(template, name, metadata),
        own_annotations=mapping(metadata.get("annotations")),
    )


def _made_of(template: Json, name: str, owner: Json) -> Json:
    """The pod that a controller makes of ``template``."""
    metadata = {**mapping(template.get("metadata")), "generateName": f"{name}-"}
    if owner.get("namespace"):
        metadata["namespace"] = owner["namespace"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": dict(mapping(template.get("spec"))),
    }
