"""Turns for pods that start at once: when each may ask for its first session.

CreateSession allows an account ten calls a second in a region, and a sidecar cannot know how many
others start with it. Whoever admits the pods can: it hands out places in a queue, and no turn at
all while there is no queue. Never promises a place: sidecars back off where the sum is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self

# A sidecar believes in no turn further ahead than an hour; a minute is for clocks that differ.
# Who would be later than that comes then, and finds its place by backing off.
LONGEST_WAIT: Final = timedelta(minutes=59)

# So many seconds' worth of calls the service itself takes at once.
BURST_SECONDS: Final = 1.0


class Quota(NamedTuple):
    """Whose sessions count together: CreateSession's quota is by account and region."""

    partition: str
    account: str
    region: str


@dataclass(frozen=True, slots=True)
class Turns:
    """For each quota, when its next place is; ``per_second`` places are handed out."""

    per_second: float
    next_free: Mapping[Quota, datetime] = field(default_factory=dict)

    def take(self, quota: Quota, *, at: datetime) -> tuple[Self, datetime | None]:
        """What is left, and the turn of a pod that comes ``at`` this time; none without a queue."""
        if self.per_second <= 0:
            return self, None
        apart = timedelta(seconds=1 / self.per_second)
        # An idle second leaves room for a burst, as the service's own bucket does.
        earliest = at - max(timedelta(seconds=BURST_SECONDS) - apart, timedelta())
        turn = max(self.next_free.get(quota, earliest), earliest)
        # Queues that have run empty are forgotten: they say nothing any more.
        waiting = {known: free for known, free in self.next_free.items() if free > earliest}
        left = type(self)(self.per_second, {**waiting, quota: turn + apart})
        return left, min(turn, at + LONGEST_WAIT) if turn > at else None
