"""What becomes of a document under JSON patch operations (RFC 6902), for those who show it.

Knows ``add`` alone, the one operation that `injection` uses. Never changes what it was given.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any


def applied(document: Mapping[str, Any], operations: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``document`` after ``operations``.

    Raises `ValueError` for another operation than ``add``, `LookupError` for a path to nowhere.
    """
    result = copy.deepcopy(dict(document))
    for operation in operations:
        if operation["op"] != "add":
            raise ValueError(f"operation {operation['op']!r} is not known here, expected 'add'")
        _add(result, operation["path"], copy.deepcopy(operation["value"]))
    return result


def _add(root: Any, path: str, value: Any) -> None:
    *way, last = (_unescaped(step) for step in path.split("/")[1:])
    parent = root
    for step in way:
        parent = parent[int(step)] if isinstance(parent, list) else parent[step]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else int(last), value)
    else:
        parent[last] = value


def _unescaped(step: str) -> str:
    """One step of a JSON pointer as a key (RFC 6901, section 4)."""
    return step.replace("~1", "/").replace("~0", "~")
