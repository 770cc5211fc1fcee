"""A session's credentials, where they come from, and how they stand at a given time.

Never fetches and never serialises: the service's reply becomes this, each endpoint writes it.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One CreateSession's worth of access; both times are aware and in UTC."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    issued: datetime
    expires: datetime
    account_id: str


class SessionSource(Protocol):
    """Where sessions come from."""

    async def create_session(self) -> Credentials:
        """A new session. Raises `RolesAnywhereError`, on which a caller may find ``retry_after``
        in seconds.
        """
        ...


class Standing(StrEnum):
    """What may be done with credentials; little life left is still life."""

    FRESH = "fresh"  # serve them, leave AWS alone
    AGEING = "ageing"  # serve them, and renew behind the caller's back
    EXPIRED = "expired"  # nothing to serve until a renewal succeeds


def standing(held: Credentials | None, *, at: datetime, margin: timedelta) -> Standing:
    """The verdict on ``held``, which age when no more than ``margin`` of their life is left."""
    if held is None or at >= held.expires:
        return Standing.EXPIRED
    return Standing.AGEING if at >= held.expires - margin else Standing.FRESH
