"""Whether a pod that nobody has checked has the shape of one, as far as decisions read it.

The API server checks before it asks the webhook; a file that a user wrote has been through nobody.
Never complains about what decisions do not look at.
"""

from collections.abc import Mapping
from typing import Any, Final

# An object whose values are texts, whatever its keys.
TEXTS: Final = "texts"

_MOUNT: Final = {"name": str, "mountPath": str}
_CONTAINER: Final = {
    "name": str,
    "env": [{"name": str}],
    "envFrom": [{"prefix": str}],
    "volumeMounts": [_MOUNT],
    "ports": [{"containerPort": int, "protocol": str}],
}
POD: Final[Mapping[str, Any]] = {
    "metadata": {
        "name": str,
        "generateName": str,
        "namespace": str,
        "labels": TEXTS,
        "annotations": TEXTS,
    },
    "spec": {
        "serviceAccountName": str,
        "serviceAccount": str,
        "os": {"name": str},
        "containers": [_CONTAINER],
        "initContainers": [_CONTAINER],
        "volumes": [{"name": str}],
    },
}
_NAMES: Final = {str: "a text", int: "a whole number", TEXTS: "an object of texts"}


def fault(value: object, shape: Any, path: str) -> str | None:
    """The first thing in ``value`` that is not of ``shape``, as a sentence; None without one.

    What is absent or null has any shape, but for the name of an item of a list.
    """
    if value is None:
        return None
    if shape == TEXTS:
        return _texts_fault(value, path)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _unexpected(value, "a list", path)
        found = (_item_fault(item, shape[0], f"{path}[{at}]") for at, item in enumerate(value))
        return next(filter(None, found), None)
    if isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            return _unexpected(value, "an object", path)
        faults = (fault(value.get(key), shape[key], f"{path}.{key}".lstrip(".")) for key in shape)
        return next(filter(None, faults), None)
    # A bool is an int to Python alone.
    fits = isinstance(value, shape) and not isinstance(value, bool)
    return None if fits else _unexpected(value, _NAMES[shape], path)


def _item_fault(item: object, shape: Mapping[str, Any], path: str) -> str | None:
    if not isinstance(item, Mapping):
        return _unexpected(item, "an object", path)
    if "name" in shape and not item.get("name"):
        return f"{path}.name is missing"
    return fault(item, shape, path)


def _texts_fault(value: object, path: str) -> str | None:
    if not isinstance(value, Mapping):
        return _unexpected(value, _NAMES[TEXTS], path)
    for key, one in value.items():
        if not isinstance(key, str) or not isinstance(one, str | None):
            return _unexpected(one, 'a text; write it in quotes, "like this"', f"{path}: {key}")
    return None


def _unexpected(got: object, expected: str, path: str) -> str:
    shown = str(got).lower() if isinstance(got, bool) else repr(got)
    return f"{path} is {shown}, expected {expected}"
