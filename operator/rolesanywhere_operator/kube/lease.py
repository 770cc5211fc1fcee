"""The rules by which a Kubernetes Lease has at most one holder at a time.

Rule 1. The holder counts from the moment *before* it sent its last successful write, and stops at
``renew_deadline``. Rule 2. Everybody else counts from the moment *after* it first read that write,
and takes over at ``duration``, which is longer. So the holder is always done first, whatever the
clocks on the walls say: every span is measured on one machine's own steady clock, and the times
inside the Lease are for people. Rule 3. Every write names the version it replaces, so of two
writers one is refused.

Never waits and never calls: `elector` does.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The spans of an election, in seconds; docs/leader-election.md has the sums behind them.

    ``duration``: how long everybody else waits after the holder's last sign of life.
    ``renew_deadline``: how long the holder acts without having been able to renew.
    ``retry_period``: the pause between two attempts. ``call_timeout``: the longest single call.
    """

    duration: int = 10
    renew_deadline: float = 7.0
    retry_period: float = 1.0
    call_timeout: float = 2.0

    @classmethod
    def lasting(cls, seconds: int) -> Self:
        """Terms for a Lease of ``seconds``, in the proportions of the defaults."""
        share = seconds / 10
        return cls(
            duration=seconds,
            renew_deadline=7 * share,
            retry_period=share,
            call_timeout=2 * share,
        )

    @property
    def longest_vacancy(self) -> float:
        """Seconds from the end of a holder, however sudden, to the next; a slow API adds its time.

        The last renewal is first seen one pause late at most, and its expiry another.
        """
        return self.duration + 2 * self.retry_period

    def __post_init__(self) -> None:
        """Raises ``ValueError`` where two could hold, or where one slow call is the end."""
        if not self.renew_deadline < self.duration:
            raise ValueError(f"renew_deadline must be below duration: {self}")
        if not 0 < self.retry_period + self.call_timeout < self.renew_deadline:
            raise ValueError(f"retry_period + call_timeout must be below renew_deadline: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a Lease says. No ``holder``: released; no ``version``: not on the server yet.

    The times are RFC 3339 with microseconds, and nobody here reads them.
    """

    holder: str = ""
    duration: int = 0
    acquired: str = ""
    renewed: str = ""
    transitions: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A record, and when on our own steady clock we first saw that version of it."""

    record: Record
    first_seen: float


def sighted(before: Sighting | None, record: Record, *, at: float) -> Sighting:
    """The waiting starts anew with every version: any write counts as a sign of life."""
    if before is not None and before.record.version == record.version:
        return before
    return Sighting(record, at)


def is_free(sighting: Sighting, *, me: str, at: float, terms: Terms) -> bool:
    """Whether ``me`` may take the Lease; the longer of its holder's duration and ours counts."""
    record = sighting.record
    if record.holder in {"", me}:
        return True
    return at - sighting.first_seen > max(record.duration, terms.duration)


def taken(record: Record, *, me: str, now: datetime, terms: Terms) -> Record:
    """The record to write so that ``me`` holds the Lease; ``now`` is the time of day."""
    today = micro_time(now)
    changes_hands = bool(record.version) and record.holder != me
    return replace(
        record,
        holder=me,
        duration=terms.duration,
        acquired=record.acquired if record.holder == me else today,
        renewed=today,
        transitions=record.transitions + changes_hands,
    )


def micro_time(moment: datetime) -> str:
    """The API's MicroTime always has six digits; ``isoformat`` drops them when they are zero."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
