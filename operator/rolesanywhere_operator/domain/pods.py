"""Reading a pod as the API server sent it: absent, null and empty are the same.

Never changes a pod, never knows why somebody asks.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Json = Mapping[str, Any]

# How the API server makes a name: as much of the prefix as this, and as many characters more.
_GENERATED_PREFIX: Final = 58
_GENERATED_SUFFIX: Final = "x" * 5


def spec(pod: Json) -> Json:
    """The pod's spec."""
    return pod.get("spec") or {}


def labels(pod: Json) -> Mapping[str, str]:
    """The pod's labels."""
    return metadata(pod).get("labels") or {}


def annotations(pod: Json) -> Mapping[str, str]:
    """The pod's annotations."""
    return metadata(pod).get("annotations") or {}


def metadata(pod: Json) -> Json:
    """The pod's metadata."""
    return pod.get("metadata") or {}


def containers(pod: Json) -> Sequence[Json]:
    """The containers that run side by side."""
    return spec(pod).get("containers") or ()


def init_containers(pod: Json) -> Sequence[Json]:
    """The containers that start one after the other; native sidecars too."""
    return spec(pod).get("initContainers") or ()


def every_container(pod: Json) -> Sequence[Json]:
    """Init containers and containers."""
    return [*init_containers(pod), *containers(pod)]


def volumes(pod: Json) -> Sequence[Json]:
    """The pod's volumes."""
    return spec(pod).get("volumes") or ()


def mounts(container: Json) -> Sequence[Json]:
    """What a container mounts."""
    return container.get("volumeMounts") or ()


def environment(container: Json) -> Sequence[Json]:
    """The variables that a container sets one by one; not its ``envFrom``."""
    return container.get("env") or ()


def service_account(pod: Json) -> str:
    """The ServiceAccount that the pod runs as; ``default`` unless it names one."""
    # serviceAccount is the older spelling of the same field, and still accepted.
    chosen = spec(pod).get("serviceAccountName") or spec(pod).get("serviceAccount")
    return chosen or "default"


def some_name(pod: Json) -> str:
    """The pod's name, or one that is as long while the API server has yet to choose it."""
    prefix = str(metadata(pod).get("generateName") or "")
    return metadata(pod).get("name") or prefix[:_GENERATED_PREFIX] + _GENERATED_SUFFIX


def display_name(pod: Json) -> str:
    """The pod's name, or ``PREFIX*`` while the API server has yet to choose it."""
    name = metadata(pod).get("name")
    return name or f"{metadata(pod).get('generateName') or ''}*"
