"""When to renew a session, and how long to leave AWS alone after a failure.

Never waits and never draws a number: ``draw`` in these functions is a random number in [0, 1)
that the caller brings. Every wait is jittered, because a rollout starts a thousand sidecars at
once and CreateSession allows an account ten calls a second. All numbers are seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

from rolesanywhere_sidecar.credentials import Credentials

# Renewals fall between these shares of a session's life. SDKs ask again, on every request they
# sign, once less than 15 minutes are left, and botocore's IMDS client guesses an expiry of its
# own below 25: an hour's session renewed by 35 minutes never shows them either.
RENEW_FROM: Final = 1 / 2
RENEW_UNTIL: Final = 7 / 12

# Between a success and the next attempt, however short or skewed a session may look.
SHORTEST_RENEWAL: Final = 5.0

# No session lasts longer than twelve hours (CreateSession, durationSeconds): one that claims to is
# renewed as if it did.
LONGEST_RENEWAL: Final = 12 * 3600 * RENEW_UNTIL

# A node that starts fifty pods at once need not shake fifty hands in one millisecond. One pod
# alone must not feel it.
START_SPREAD: Final = 0.1

# A turn further ahead is not believed: one of two clocks must be wrong.
LONGEST_TURN: Final = 3600.0

# A Retry-After beyond this is a proxy's mistake rather than the service's wish.
LONGEST_RETRY_AFTER: Final = 900.0

# A rotated certificate is used within this time: pods that share it are told together.
ROTATION_SPREAD: Final = 5.0

# So many rotations are used at once, and one more for each time that this has passed: files that
# change at every look must not become a request at every look.
HURRIES: Final = 3
HURRY_REGAINED: Final = 30.0

# A wait is between the one before it and this many times that (decorrelated jitter, AWS
# Architecture Blog, "Exponential Backoff And Jitter", but that no wait falls below the one before:
# 10,000 sidecars then make 9 calls each instead of 16, see docs/performance.md, "Fleet").
GROWTH: Final = 3.0

# While a session is still held, each wait is at most this share of what is left of it, but never
# made shorter than the second number.
CLOSING_SHARE: Final = 1 / 3
CLOSEST: Final = 10.0


@dataclass(frozen=True, slots=True)
class Manner:
    """How one kind of failure is waited out: the least and the most."""

    first: float
    longest: float


# What time alone can heal is asked again soon; what waits for somebody to act, slowly. Throttling
# tells of a crowd: up to five minutes let 10,000 sidecars share ten calls a second.
PASSING: Final = Manner(first=1.0, longest=60.0)
THROTTLED: Final = Manner(first=1.0, longest=300.0)
LASTING: Final = Manner(first=15.0, longest=300.0)


@dataclass(frozen=True, slots=True)
class Backoff:
    """What failures have taught so far: the latest wait for each kind of them."""

    waits: Mapping[Manner, float] = field(default_factory=dict)

    def failed(self, manner: Manner, *, draw: float) -> Self:
        """The next wait grows from the one before it."""
        before = self.waits.get(manner, 0.0)
        ceiling = min(manner.longest, GROWTH * max(before, manner.first))
        floor = max(manner.first, min(before, ceiling / GROWTH))
        return type(self)({**self.waits, manner: floor + (ceiling - floor) * draw})

    def succeeded(self) -> Self:
        """Shrunk, not forgotten: one success does not disperse a crowd."""
        shrunk = {manner: wait / GROWTH for manner, wait in self.waits.items()}
        return type(self)({kind: wait for kind, wait in shrunk.items() if wait > kind.first})

    def forgetting(self, manner: Manner) -> Self:
        """Without one kind's lesson: its cause may be gone."""
        return type(self)({kind: wait for kind, wait in self.waits.items() if kind != manner})


def renewal_margin(credentials: Credentials, *, draw: float) -> timedelta:
    """How much life is left when ``credentials`` are to be renewed."""
    share = RENEW_FROM + (RENEW_UNTIL - RENEW_FROM) * draw
    return (credentials.expires - credentials.issued) * (1 - share)


def until_renewal(credentials: Credentials, *, margin: timedelta, at: datetime) -> float:
    """From ``at`` until ``margin`` is what is left of ``credentials``, within reason."""
    left = (credentials.expires - margin - at).total_seconds()
    return min(max(left, SHORTEST_RENEWAL), LONGEST_RENEWAL)


def until_turn(start_after: datetime | None, *, at: datetime) -> float:
    """From ``at`` until a fleet's turn comes; 0 without one, and for one that is not believed."""
    if start_after is None:
        return 0.0
    wait = (start_after - at).total_seconds()
    return wait if 0 < wait <= LONGEST_TURN else 0.0


def asked_for(retry_after: float | None, *, left: float) -> float:
    """What of a Retry-After is waited out before anything else.

    ``left`` is what remains of the session held, 0 without one: half of that is never given away.
    """
    wish = min(max(retry_after or 0.0, 0.0), LONGEST_RETRY_AFTER)
    return min(wish, left / 2) if left > 0 else wish


def closing(wait: float, *, left: float) -> float:
    """``wait``, shortened where it would let the session held run out: ``left`` is its life."""
    return min(wait, max(CLOSING_SHARE * left, CLOSEST)) if left > 0 else wait


@dataclass(frozen=True, slots=True)
class Hurries:
    """How many rotations may still be used at once; ``at`` is when that was so."""

    left: float = HURRIES
    at: float = 0.0

    def regained(self, at: float) -> Self:
        """The same, later."""
        gained = (at - self.at) / HURRY_REGAINED
        return type(self)(min(float(HURRIES), self.left + gained), at)

    def spent(self) -> Self:
        """After one more; only while `wait` is 0."""
        return type(self)(self.left - 1, self.at)

    @property
    def wait(self) -> float:
        """Until the next one may be."""
        return max(0.0, 1 - self.left) * HURRY_REGAINED
