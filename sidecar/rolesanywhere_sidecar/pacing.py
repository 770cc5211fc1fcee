"""When to renew a session, and how long to leave AWS alone after a failure.

Never waits and never draws a number: ``draw`` in these functions is a random number in [0, 1)
that the caller brings. Every wait is jittered, because a rollout starts a thousand sidecars at
once and CreateSession allows an account ten calls a second.
"""

from datetime import datetime, timedelta
from typing import Final

from rolesanywhere_sidecar.credentials import Credentials

# Renewals fall between these shares of a session's life. SDKs ask again, on every request they
# sign, once less than 15 minutes are left, and botocore's IMDS client guesses an expiry of its
# own below 25: an hour's session renewed by 35 minutes never shows them either.
RENEW_FROM: Final = 1 / 2
RENEW_UNTIL: Final = 7 / 12

# Seconds between a success and the next attempt, however short or skewed a session may look.
SHORTEST_RENEWAL: Final = 5.0

# Seconds. What time alone can heal is asked again soon, what waits for somebody to act slowly.
FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 60.0
FIRST_SLOW_BACKOFF: Final = 15.0
LONGEST_SLOW_BACKOFF: Final = 300.0

# A Retry-After beyond this, in seconds, is a proxy's mistake rather than the service's wish.
LONGEST_RETRY_AFTER: Final = 900.0

# A rotated certificate is used within this many seconds: pods that share it are told together.
ROTATION_SPREAD: Final = 5.0


def renewal_margin(credentials: Credentials, *, draw: float) -> timedelta:
    """How much life is left when ``credentials`` are to be renewed."""
    share = RENEW_FROM + (RENEW_UNTIL - RENEW_FROM) * draw
    return (credentials.expires - credentials.issued) * (1 - share)


def until_renewal(credentials: Credentials, *, margin: timedelta, at: datetime) -> float:
    """Seconds from ``at`` until ``margin`` is what is left of ``credentials``."""
    return max((credentials.expires - margin - at).total_seconds(), SHORTEST_RENEWAL)


def backoff(
    failures: int, *, retryable: bool, retry_after: float | None = None, draw: float
) -> float:
    """Seconds to wait after the latest of ``failures`` in a row, one or more.

    Exponential with full jitter above a floor; ``retry_after``, in seconds, is waited out first.
    """
    first, longest = (
        (FIRST_BACKOFF, LONGEST_BACKOFF)
        if retryable
        else (FIRST_SLOW_BACKOFF, LONGEST_SLOW_BACKOFF)
    )
    # 2**10 times either floor is past its cap; an unbounded exponent would overflow in a week.
    ceiling = min(longest, first * 2.0 ** min(failures, 10))
    asked_for = min(max(retry_after or 0.0, 0.0), LONGEST_RETRY_AFTER)
    return asked_for + first + (ceiling - first) * draw
