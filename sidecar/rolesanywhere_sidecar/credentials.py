"""A session's credentials, and how they stand at a given time.

Never fetches and never serialises: the service's reply becomes this, each endpoint writes it.
"""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One CreateSession's worth of access; both times are aware and in UTC."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    issued: datetime
    expires: datetime
    account_id: str
