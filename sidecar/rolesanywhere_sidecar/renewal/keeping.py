"""What ``serve`` does with the session file: adopts what is kept there, keeps what is new.

A restart then costs no CreateSession. Only a session that was made with the certificate on disk is
adopted: after a restart nobody can tell a renewed certificate from another identity, whose
sessions carry other tags and another name in CloudTrail. While a process runs, it knows, and does
serve the old session until the new certificate has one. Of a certificate in a token that is away
the URI has to do: nothing there can change meanwhile, and it is looked at as soon as it is back.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.identities.identity import Identity
from rolesanywhere_sidecar.identities.pkcs11.errors import PinUnanswered
from rolesanywhere_sidecar.lanes import Lane
from rolesanywhere_sidecar.renewal.problems import Problem
from rolesanywhere_sidecar.renewal.sessionfile import SessionFile, SessionFileUnusable, leaf_digest

log = logging.getLogger(__name__)

# A volume that hangs must not keep the first session from being asked for.
PATIENCE_SECONDS: Final = 5.0
# Of the eight that a process has to end, of which the listeners may take three.
CLOSING_SECONDS: Final = 4.0


class Service(Protocol):
    """Knows with which identity its sessions are made."""

    async def load_identity(self) -> Identity: ...

    def resume(self, kept: Credentials) -> None: ...

    @property
    def accepted(self) -> Identity | None: ...


class Keeping:
    """Keeps each session of ``service`` in ``file``; without a file nothing is kept."""

    def __init__(
        self, service: Service, file: SessionFile | None, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._service = service
        self._file = file
        self._patience = patience
        self._lane = Lane("session file")
        self._told = False

    async def keep(self, credentials: Credentials) -> None:
        """Keep ``credentials``, which the service gave last; never raises, and never waits long."""
        identity = self._service.accepted
        if self._file is None or identity is None:
            return
        if self._lane.is_busy:
            self._warn(f"the session file {self._file.path} hangs since a session before")
            return
        try:
            async with asyncio.timeout(self._patience):
                digest = leaf_digest(identity)
                await self._lane.run(partial(self._file.write, credentials, digest))
        except TimeoutError:
            self._warn(
                f"the session file {self._file.path} takes more than {self._patience:g} seconds"
            )
        except Exception as problem:
            # Whatever it was, dying of it would take away the session that is not kept.
            self._warn(Problem.of(problem).sentence)
        else:
            self._told = False

    async def close(self) -> None:
        """Give a session that is being written a moment."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._lane.cleared()

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
    """The session in ``file`` if it is still valid and of the certificate on disk; never raises.

    Nothing is adopted while the identity's volume hangs, since then nobody knows whose the session
    is; nor while that of the file does. While a token is away that is to hold the certificate,
    ``service`` has accepted nothing by then.
    """
    if file is None:
        return None
    found = await _kept(file, service, now=now, patience=patience)
    if isinstance(found, str):
        log.info("no session adopted", extra={"reason": found})
        return None
    service.resume(found)
    return found


def is_away(problem: RolesAnywhereError) -> bool:
    """Whether it keeps us from a token that may be as it was, and is there again later."""
    return problem.retryable or isinstance(problem, PinUnanswered)


async def _kept(
    file: SessionFile, service: Service, *, now: Callable[[], datetime], patience: float
) -> Credentials | str:
    """The session to adopt, or a sentence that says why there is none."""
    try:
        leaf = await _leaf(service, may_be_away=bool(file.place), patience=patience)
    except TimeoutError:
        return f"the identity cannot be read within {patience:g} seconds"
    except RolesAnywhereError as problem:
        return f"whose it would be is not known: {problem}"
    try:
        async with asyncio.timeout(patience):
            return await Lane("session file").run(lambda: file.look(now(), leaf))
    except TimeoutError:
        return f"the session file {file.path} cannot be read within {patience:g} seconds"


async def _leaf(service: Service, *, may_be_away: bool, patience: float) -> bytes | None:
    """The digest of the certificate, or None for one whose token is away."""
    try:
        async with asyncio.timeout(patience):
            return leaf_digest(await service.load_identity())
    except TimeoutError:
        if not may_be_away:
            raise
    except RolesAnywhereError as problem:
        if not (may_be_away and is_away(problem)):
            raise
    return None
