"""What a call on the API server was: a verb, a resource and how it ended, for those who count.

Never counts, and never keeps a name: an object's namespace and name stay out of every label.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

# A path of objects, with a namespace or without, of one object or of all, of it or of a part of it
# (Kubernetes API concepts, "Resource URIs").
_OBJECTS: Final = re.compile(
    r"/(?:api/[^/]+|apis/[^/]+/[^/]+)(?:/namespaces/[^/]+(?=/))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<part>[^/]+))?)?/?"
)
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# The resource of what is no object, such as /apis and /version.
_NO_OBJECT: Final = "discovery"


@dataclass(frozen=True, slots=True)
class Call:
    """One call: ``status`` is HTTP's, 0 without an answer; ``seconds`` until it began to come."""

    verb: str
    resource: str
    status: int
    seconds: float

    @classmethod
    def of(cls, method: str, path: str, *, watch: bool, status: int, seconds: float) -> Self:
        """The call that ``method`` on ``path`` was; verb and resource are named as RBAC does."""
        objects = _OBJECTS.fullmatch(path)
        if objects is None:
            return cls("get", _NO_OBJECT, status, seconds)
        resource, part = objects["resource"], objects["part"]
        verb = _VERBS.get(method) or ("get" if objects["name"] else "list")
        return cls(
            "watch" if watch else verb, f"{resource}/{part}" if part else resource, status, seconds
        )


Observer = Callable[[Call], None]


def unobserved(_: Call) -> None:
    """Nobody counts."""
