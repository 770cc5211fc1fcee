"""What tells that we have been at a pod: the annotation that we write, and a sidecar of our make.

Anybody can write such an annotation, so nothing that matters for security may rest on it.
"""

import json
from dataclasses import dataclass
from typing import Final

from rolesanywhere_contract.names import (
    IDENTITY_VOLUME,
    INJECTED_ANNOTATION,
    SIDECAR_CONTAINER,
    TOKEN_DIRECTORY,
    TOKEN_VOLUME,
)
from rolesanywhere_operator.domain import manifests, pods
from rolesanywhere_operator.domain.pods import Json

# `json.dumps` would make such an encoder for each pod.
_encoded: Final = json.JSONEncoder(sort_keys=True).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Which binding, at which ``metadata.generation``, put which image beside which containers."""

    binding: str
    generation: int
    image: str
    containers: tuple[str, ...]

    def __str__(self) -> str:
        # Not asdict, which copies in depth and takes ten times as long.
        fields = {name: getattr(self, name) for name in self.__slots__}
        return _encoded(fields)


def read(pod: Json) -> Mark | None:
    """The pod's mark; None where there is none that we could have written."""
    text = pods.annotations(pod).get(INJECTED_ANNOTATION)
    if text is None:
        return None
    try:
        given = json.loads(text)
        match given:
            case {
                "binding": str(binding),
                "generation": int(generation),
                "image": str(image),
                "containers": list(containers),
            }:
                names = tuple(str(name) for name in containers)
                return Mark(binding=binding, generation=generation, image=image, containers=names)
    except (ValueError, RecursionError):  # whatever a pod's author has written there
        pass
    return None


def is_injected(pod: Json) -> bool:
    """Whether the pod carries our mark, and a sidecar as we make them.

    Judged by its shape too, because anybody can write an annotation. Not by its image: other
    webhooks rewrite images to point at mirrors.
    """
    if read(pod) is None:
        return False
    sidecars = _sidecars(pod)
    return len(sidecars) == 1 and _is_our_make(sidecars[0])


def mounted_by_sidecar(pod: Json) -> frozenset[str]:
    """The names of the volumes that the pod's sidecar mounts."""
    return frozenset(str(mount.get("name")) for one in _sidecars(pod) for mount in pods.mounts(one))


def _sidecars(pod: Json) -> list[Json]:
    return [one for one in pods.init_containers(pod) if one.get("name") == SIDECAR_CONTAINER]


def _is_our_make(container: Json) -> bool:
    mounted = {mount.get("name"): mount.get("mountPath") for mount in pods.mounts(container)}
    return (
        container.get("restartPolicy") == "Always"
        and container.get("args") == manifests.SIDECAR_ARGS
        and mounted.get(TOKEN_VOLUME) == TOKEN_DIRECTORY
        and IDENTITY_VOLUME in mounted
    )
