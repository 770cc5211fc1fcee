"""What ``serve`` does with the session file: adopts what is kept there, keeps what is new.

A restart then costs no CreateSession. Only a session that was made with the certificate on disk is
adopted: after a restart nobody can tell a renewed certificate from another identity, whose
sessions carry other tags and another name in CloudTrail. While a process runs, it knows, and does
serve the old session until the new certificate has one.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.identities.identity import Identity
from rolesanywhere_sidecar.renewal.sessionfile import SessionFile, SessionFileUnusable, leaf_digest

log = logging.getLogger(__name__)

# A volume that hangs must neither keep the first session from being asked for nor lose a new one.
PATIENCE_SECONDS: Final = 5.0


class Service(Protocol):
    """Creates sessions, and knows with which identity."""

    async def create_session(self) -> Credentials: ...

    async def load_identity(self) -> Identity: ...

    def resume(self, kept: Credentials) -> None: ...

    @property
    def accepted(self) -> Identity | None: ...


class Keeping:
    """``service``, with each new session kept in ``file``; without a file nothing is kept."""

    def __init__(
        self, service: Service, file: SessionFile | None, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._service = service
        self._file = file
        self._patience = patience
        self._told = False

    async def create_session(self) -> Credentials:
        credentials = await self._service.create_session()
        identity = self._service.accepted
        if self._file is not None and identity is not None:
            await self._keep(self._file, credentials, identity)
        return credentials

    async def _keep(self, file: SessionFile, credentials: Credentials, by: Identity) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await asyncio.to_thread(file.write, credentials, leaf_digest(by))
        except SessionFileUnusable as problem:
            self._warn(str(problem))
        except TimeoutError:
            self._warn(f"the session file {file.path} takes more than {self._patience:g} seconds")
        else:
            self._told = False

    def _warn(self, problem: str) -> None:
        """Once, until a session is kept again."""
        if not self._told:
            extra = {"code": SessionFileUnusable.code, "problem": problem}
            log.warning("session not kept", extra=extra)
        self._told = True


async def resume(
    file: SessionFile | None,
    service: Service,
    *,
    now: Callable[[], datetime],
    patience: float = PATIENCE_SECONDS,
) -> Credentials | None:
    """The session in ``file`` if it is still valid and of the certificate on disk; never raises."""
    if file is None:
        return None
    try:
        async with asyncio.timeout(patience):
            identity = await service.load_identity()
            kept = await asyncio.to_thread(file.read, now(), leaf_digest(identity))
    except (RolesAnywhereError, TimeoutError):
        # Why the identity cannot be read is said by the first renewal.
        return None
    if kept is not None:
        service.resume(kept)
    return kept
