"""What can go wrong between a client and IAM Roles Anywhere, to be switched on while it runs.

Faults hit CreateSession only; STS always answers honestly.
"""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias


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


@dataclass(frozen=True, slots=True)
class Cut:
    """The honest answer up to its middle, and then a reset."""


Fault: TypeAlias = Delay | Answer | Reset | Cut

# Real enough to be dangerous: no log and no sentence may ever hold them.
SECRET_ACCESS_KEY: Final = "faultySecretAccessKey+" + "s" * 18
SESSION_TOKEN: Final = "faultySessionToken/" + "t" * 200


def server_error(status: int = 503, *, as_json: bool = True) -> Answer:
    """A 5xx: the service's own JSON, or a proxy's HTML."""
    if not as_json:
        return Answer(status, b"<html>Bad gateway</html>", {"Content-Type": "text/html"})
    return _json_error(status, "InternalServerException", "Internal failure")


def refused(code: str = "AccessDeniedException", message: str = "no", status: int = 403) -> Answer:
    """The service's own refusal."""
    return _json_error(status, code, message)


def throttled(
    *, retry_after: int | None = None, code: str = "ThrottlingException", status: int = 429
) -> Answer:
    """Too fast, with ``Retry-After`` in seconds if given."""
    answer = _json_error(status, code, "Rate exceeded")
    extra = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Answer(answer.status, answer.body, {**answer.headers, **extra})


def garbage(status: int = 201, body: bytes = b"<html>hello</html>") -> Answer:
    """A success whose body is none."""
    return Answer(status, body, {"Content-Type": "application/json"})


def empty_set() -> Answer:
    """A success without any credentials."""
    return garbage(body=b'{"credentialSet":[],"subjectArn":"arn"}')


def session(**changes: str | None) -> Answer:
    """A success with a session that no judge granted; ``changes`` are to its credentials."""
    credentials = {
        "accessKeyId": "ASIAFAULTY0000000000",
        "secretAccessKey": SECRET_ACCESS_KEY,
        "sessionToken": SESSION_TOKEN,
        "expiration": "2099-01-01T00:00:00Z",
        **changes,
    }
    return _granting(credentials)


def null_credentials() -> Answer:
    """A success whose session has ``null`` where its credentials belong."""
    return _granting(None)


def truncated() -> Answer:
    """A success that ends in the middle of its JSON, and is as long as it says."""
    whole = session().body
    return garbage(body=whole[: len(whole) // 2])


def redirect(to: str = "https://elsewhere.invalid/sessions") -> Answer:
    """Somebody would rather be asked elsewhere."""
    return Answer(307, b"", {"Location": to})


def _granting(credentials: Mapping[str, str | None] | None) -> Answer:
    document = {"credentialSet": [{"credentials": credentials}], "subjectArn": "arn"}
    return garbage(body=json.dumps(document).encode())


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
