"""What the webhook shows a scraper: its reviews, its copy of the bindings, its certificate.

Asks each part when it is read, and changes none.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Protocol

from rolesanywhere_contract.exposition import Family, gauge
from rolesanywhere_operator.metrics import ApiCalls
from rolesanywhere_operator.webhook.tally import Tally


class Copy(Protocol):
    """A copy of the bindings; ``heard`` is when the API server last said something of them."""

    @property
    def synced(self) -> bool:
        """Whether there has been a first list."""

    @property
    def objects(self) -> int:
        """How many are held."""

    @property
    def heard(self) -> float | None:
        """By the same clock as ``now``, in seconds; None before the first time."""


def families(
    *,
    tally: Tally,
    calls: ApiCalls,
    copy: Copy,
    now: Callable[[], float],
    certificate_ends: datetime | None,
    longest_wait: timedelta,
) -> Iterator[Family]:
    """Everything as it is now; ``now`` is a steady clock in seconds."""
    yield from tally.families()
    yield gauge(
        "rolesanywhere_operator_cache_synced",
        "1 once the bindings have been listed, else 0.",
        copy.synced,
    )
    yield gauge(
        "rolesanywhere_operator_cache_age_seconds",
        "How long ago the API server last said something of bindings; bookmarks count.",
        0.0 if copy.heard is None else now() - copy.heard,
    )
    yield gauge(
        "rolesanywhere_operator_cache_objects", "Bindings in the webhook's copy.", copy.objects
    )
    yield gauge(
        "rolesanywhere_operator_certificate_expiry_timestamp_seconds",
        "When the serving certificate ends, in Unix time; 0 before the first.",
        certificate_ends.timestamp() if certificate_ends else 0.0,
    )
    yield gauge(
        "rolesanywhere_operator_turns_wait_seconds",
        "How long a pod that came now would wait for its turn, in the longest queue.",
        longest_wait.total_seconds(),
    )
    yield from calls.families()
