"""Whether a call that the API server has put off is made again, and when.

With 429 and 503 it says that it has done nothing yet, and often when to come back (RFC 6585,
section 4; RFC 9110, sections 15.6.4 and 10.2.3): an overloaded one, one that has just started
("storage is (re)initializing"), one that is about to end. Never waits: the client does.
"""

from http import HTTPStatus
from typing import Final

# So many times in all; whoever asked has pauses of its own for what takes longer.
ATTEMPTS: Final = 4
# Who is told to stay away for longer is told so at once: patience is the caller's to have.
LONGEST_SECONDS: Final = 5.0
# Where the server does not say: doubled with each attempt.
FIRST_SECONDS: Final = 0.25
# Callers that were put off together come back apart, by up to so much of the pause.
_SPREAD: Final = 0.25

_PUT_OFF: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def pause(status: int, retry_after: str | None, *, attempt: int, draw: float) -> float | None:
    """Seconds until the call is made again; None when it is not.

    ``attempt`` counts from 1, ``retry_after`` is the header, ``draw`` is uniform in [0, 1).
    """
    if status not in _PUT_OFF or attempt >= ATTEMPTS:
        return None
    asked = _seconds(retry_after)
    wanted = FIRST_SECONDS * 2 ** (attempt - 1) if asked is None else asked
    return None if wanted > LONGEST_SECONDS else wanted * (1 + _SPREAD * draw)


def _seconds(retry_after: str | None) -> float | None:
    """A date, which no API server sends, counts as nothing said."""
    text = (retry_after or "").strip()
    return float(text) if text.isascii() and text.isdigit() else None
