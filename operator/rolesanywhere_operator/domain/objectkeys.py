"""One key of a Secret or of a ConfigMap, as bindings name it.

Never repeats what was given: a password may have been put there. Never asks whether it is there.
"""

import re
from typing import Final

from rolesanywhere_operator.domain.untyped import mapping

# The schemas have these patterns too.
OBJECT_NAME: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
OBJECT_KEY: Final = r"^[-._a-zA-Z0-9]+$"

_FIELDS: Final = (
    ("name", OBJECT_NAME, "lower case letters, digits, '-' and '.'"),
    ("key", OBJECT_KEY, "letters, digits, '-', '_' and '.'"),
)


def read(value: object, kind: str, *, key: str | None = None) -> dict[str, str]:
    """``name`` and ``key`` of an object of that ``kind``; ``key`` is meant where none is given.

    Raises `ValueError` with what is wrong with the field that names it.
    """
    given = {"key": key} | {name: one for name, one in mapping(value).items() if one is not None}
    found: dict[str, str] = {}
    for field, pattern, expected in _FIELDS:
        text = given.get(field)
        if not isinstance(text, str) or not re.fullmatch(pattern, text):
            raise ValueError(f"has no {field} that a {kind} can have, expected {expected}")
        found[field] = text
    return found
