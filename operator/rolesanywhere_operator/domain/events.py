"""Events, as ``kubectl describe`` shows them below an object.

Never posts, and never counts repetitions: an Event is for a transition.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

Json = dict[str, Any]

REPORTER: Final = "rolesanywhere-controller"
# core/v1 Event, ``message``: what validation takes, in characters.
_LONGEST_MESSAGE: Final = 1024


def manifest(
    about: Mapping[str, Any], *, kind: str, reason: str, message: str, now: datetime, reporter: str
) -> Json:
    """The Event on the object ``about``, to be created in its namespace.

    ``kind`` is Normal or Warning, ``reason`` one stable word, ``reporter`` this process' own name.
    """
    metadata = about["metadata"]
    at = now.astimezone(UTC)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "rolesanywhere-", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "type": kind,
        "reason": reason,
        "message": _shortened(message),
        "firstTimestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lastTimestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "count": 1,
        "action": reason,
        "source": {"component": REPORTER},
        "reportingComponent": REPORTER,
        "reportingInstance": reporter,
    }


def _shortened(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[: _LONGEST_MESSAGE - 1]}…"
