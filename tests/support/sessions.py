"""Sessions as a test wants them: credentials by recipe, and a source that obeys a script."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from rolesanywhere_sidecar.credentials import Credentials
from tests.support.clocks import START

SECRET_ACCESS_KEY = "wJalrXUtnFEMIK7MDENGbPxRfiCYzEXAMPLEKEYx"
SESSION_TOKEN = "IQoJb3JpZ2luX2VjEXAMPLETOKEN" * 12


def some_credentials(
    number: int = 1, *, issued: datetime = START, life: float = 3600
) -> Credentials:
    """The credentials of the ``number``-th session; ``life`` is in seconds."""
    return Credentials(
        access_key_id=f"ASIAEXAMPLE{number:09}",
        secret_access_key=SECRET_ACCESS_KEY,
        session_token=SESSION_TOKEN,
        issued=issued,
        expires=issued + timedelta(seconds=life),
        account_id="111122223333",
    )


class ScriptedSource:
    """Creates sessions, or raises ``failure`` while that is set; ``gate`` holds attempts back."""

    def __init__(self, now: Callable[[], datetime], *, life: float = 3600) -> None:
        self._now = now
        self.life = life
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.attempts = 0
        self.running = 0
        self.most_running = 0

    async def create_session(self) -> Credentials:
        self.attempts += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            return some_credentials(self.attempts, issued=self._now(), life=self.life)
        finally:
            self.running -= 1
