"""Where pods draw their turns: this replica's queues, and the clock that they go by.

Shares nothing with the other replicas: each hands out its part of the quota. Never decides when a
turn is; that is `turns`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from rolesanywhere_operator.domain.turns import Quota, Turns


class Desk:
    """Hands out ``per_minute`` turns for each quota, by ``now``, which returns aware times."""

    def __init__(self, per_minute: int, *, now: Callable[[], datetime]) -> None:
        self._turns = Turns(per_minute / 60)
        self._now = now

    def take(self, quota: Quota) -> datetime | None:
        """The next pod's turn; none while there is no queue."""
        self._turns, turn = self._turns.take(quota, at=self._now())
        return turn

    @property
    def longest_wait(self) -> timedelta:
        """How long a pod that came now would wait, in the longest queue."""
        now = self._now()
        return max((free - now for free in self._turns.next_free.values() if free > now),
                   default=timedelta())  # fmt: skip
