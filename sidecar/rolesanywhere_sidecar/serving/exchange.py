"""What is asked over HTTP and what is answered, as values.

Never a socket, never a framework: `listeners` turns bytes into `Ask` and `Reply` into bytes, so
that every rule of the endpoints is a function of its arguments.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Final, TypeAlias
from urllib.parse import unquote

READING: Final = ("GET", "HEAD")

JSON: Final = "application/json"

# A path's parts, decoded.
Path: TypeAlias = tuple[str, ...]


class Headers(Mapping[str, str]):
    """Header fields, looked up without regard to case; what came twice is joined by a comma.

    So a repeated ``Authorization`` is neither the one nor the other (RFC 9110, section 5.3).
    """

    __slots__ = ("_values",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, str] = {}
        for name, value in fields:
            key = name.lower()
            before = self._values.get(key)
            self._values[key] = value if before is None else f"{before}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True)
class Ask:
    """One request. ``target`` is as it came; ``headers`` are looked up without regard to case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)

    @cached_property
    def path(self) -> Path:
        """The path's parts, percent-decoded; queries and empty parts do not count.

        So a trailing slash, and the doubled ones that some clients build, make no difference.
        """
        path, _, _ = self.target.partition("?")
        return tuple(unquote(part) for part in path.split("/") if part)


@dataclass(frozen=True, slots=True)
class Reply:
    """One response; the body may hold secrets and is not printed."""

    status: int
    body: str = field(default="", repr=False)
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[Ask], Reply]


def json_reply(status: int, document: Mapping[str, str]) -> Reply:
    """A JSON document; every value is a string, as SDKs demand."""
    return Reply(status, json.dumps(document), JSON)


def error_reply(status: int, *, code: str, message: str) -> Reply:
    """An error in both spellings that SDKs read: Go's lower case and JavaScript's upper."""
    both = {"code": code, "message": message, "Code": code, "Message": message}
    return json_reply(status, both)


def not_allowed(*methods: str) -> Reply:
    """405, which must say what is allowed (RFC 9110, section 15.5.6)."""
    return Reply(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(methods)})


def path_of(text: str) -> Path:
    """A path in the form of `Ask.path`."""
    return tuple(part for part in text.split("/") if part)
