"""Warns when the certificate comes near its end while the sidecar runs.

A certificate that is near it when it is loaded is told of by who loads it. Never renews anything:
that is its issuer's.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NoReturn

from cryptography import x509

from rolesanywhere_sidecar.clock import Clock
from rolesanywhere_sidecar.identities.identity import Identity, expires_soon

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 60.0


class ExpiryWatcher:
    """Logs a warning once for each leaf that crosses the line."""

    def __init__(self, identity: Callable[[], Identity | None], *, clock: Clock) -> None:
        self._identity = identity
        self._clock = clock
        self._calm: x509.Certificate | None = None
        self._last_turn = clock.monotonic()

    @property
    def is_stuck(self) -> bool:
        """Whether `run` has missed its turns."""
        return self._clock.monotonic() - self._last_turn > 3 * LOOK_SECONDS

    async def run(self) -> NoReturn:
        """Look every minute, for ever; returns only by cancellation."""
        never = asyncio.Event()
        while True:
            self._last_turn = self._clock.monotonic()
            self.look()
            await self._clock.pause(LOOK_SECONDS, unless=never)

    def look(self) -> None:
        """Compare with the line once."""
        identity = self._identity()
        if identity is None:
            return
        sentence = expires_soon(identity, at=self._clock.now())
        if sentence is None:
            self._calm = identity.leaf
        elif self._calm == identity.leaf:
            self._calm = None
            log.warning("certificate expires soon", extra={"problem": sentence})
