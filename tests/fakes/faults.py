"""What can go wrong between a client and IAM Roles Anywhere, to be switched on while it runs.

Faults hit CreateSession only; STS always answers honestly.
"""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Delay:
    """The honest answer, but ``seconds`` late."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """This answer instead of the honest one; no session is issued."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset instead of answered."""


Fault: TypeAlias = Delay | Answer | Reset


def server_error(status: int = 503, *, as_json: bool = True) -> Answer:
    """A 5xx: the service's own JSON, or a proxy's HTML."""
    if not as_json:
        return Answer(status, b"<html>Bad gateway</html>", {"Content-Type": "text/html"})
    return _json_error(status, "InternalServerException", "Internal failure")


def throttled(*, retry_after: int | None = None) -> Answer:
    """A 429, with ``Retry-After`` in seconds if given."""
    answer = _json_error(429, "ThrottlingException", "Rate exceeded")
    extra = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Answer(answer.status, answer.body, {**answer.headers, **extra})


def garbage(status: int = 201, body: bytes = b"<html>hello</html>") -> Answer:
    """A success whose body is none."""
    return Answer(status, body, {"Content-Type": "application/json"})


def empty_set() -> Answer:
    """A success without any credentials."""
    return garbage(body=b'{"credentialSet":[],"subjectArn":"arn"}')


def _json_error(status: int, code: str, message: str) -> Answer:
    headers = {"Content-Type": "application/json", "X-Amzn-ErrorType": code}
    return Answer(status, json.dumps({"message": message}).encode(), headers)


class Faults:
    """The switchboard: ``next`` for the next requests, ``always`` until ``clear``."""

    def __init__(self) -> None:
        self._queue: deque[Fault | None] = deque()
        self._standing: Fault | None = None

    def next(self, fault: Fault | None, times: int = 1) -> None:
        """The next ``times`` requests not yet spoken for meet ``fault`` (``None``: none)."""
        self._queue.extend([fault] * times)

    def always(self, fault: Fault) -> None:
        """Every request meets ``fault`` once the queued ones are used up."""
        self._standing = fault

    def clear(self) -> None:
        """From now on all is well."""
        self._queue.clear()
        self._standing = None

    def take(self) -> Fault | None:
        """The fault that the request at hand meets."""
        return self._queue.popleft() if self._queue else self._standing
