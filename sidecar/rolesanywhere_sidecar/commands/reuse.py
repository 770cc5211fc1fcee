"""One session for many processes: the first makes it, the others take it from the session file.

The file and its lock save CreateSession calls and are allowed to fail: then each process makes a
session of its own, and says why. A failure that passes is shared, too. Never keeps anything in
memory.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar import locks
from rolesanywhere_sidecar.commands.failurenote import FailureNote
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.locks import LockBusy, LockUnavailable
from rolesanywhere_sidecar.renewal.keeping import is_away
from rolesanywhere_sidecar.renewal.sessionfile import SessionFile, SessionFileUnusable

log = logging.getLogger(__name__)

# SDKs ask for new credentials once less than 15 minutes are left (botocore, "advisory refresh"):
# a session with less life than that would only bring them back at once.
SDK_REFRESH: Final = timedelta(minutes=15)

# Seconds that another process may take to make the session that we wait for. It ends within
# `terminal.TOTAL_SECONDS`, and so do we.
PATIENCE_SECONDS: Final = 45.0


def is_enough(kept: Credentials, *, at: datetime) -> bool:
    """Whether so much of ``kept`` is left that another caller may have it.

    More than SDKs refresh at. Of a session that is short itself half its life is enough: the
    shortest lasts 15 minutes, and would never be used twice.
    """
    life = kept.expires - kept.issued
    return kept.expires - at > min(SDK_REFRESH, life / 2)


async def session_for_all(
    file: SessionFile,
    leaf: bytes,
    *,
    make: Callable[[], Awaitable[tuple[Credentials, bytes]]],
    now: Callable[[], datetime],
    patience: float = PATIENCE_SECONDS,
) -> Credentials:
    """The session in ``file`` made with the certificate ``leaf``, or else the one that ``make``
    gives, with the digest of its certificate, kept there for the next.

    Raises what ``make`` raises, or raised in another process just now, or `locks.LockBusy`, unless
    the session in the file is still valid.
    """
    kept = await asyncio.to_thread(file.read, now(), leaf)
    if kept is not None and is_enough(kept, at=now()):
        return kept
    waiting_since = now()
    async with AsyncExitStack() as stack:
        try:
            lock = locks.held(locks.beside(file.path), within=patience)
            await stack.enter_async_context(lock)
        except LockBusy:
            # Its holder asks AWS: one more request beside that one would help nobody.
            if kept is not None and kept.expires > now():
                return kept
            raise
        except LockUnavailable as problem:
            _warn("session made without the lock", problem)
        return await _renewed(file, leaf, make=make, now=now, waiting_since=waiting_since)


async def session_while_away(
    file: SessionFile, problem: RolesAnywhereError, *, now: Callable[[], datetime]
) -> Credentials:
    """The session in ``file``, although its certificate cannot be looked at: it was made with that
    of our place in a token, and ``problem`` is that this is away.

    Raises ``problem`` where it is another, or where there is no such session.
    """
    if not is_away(problem):
        raise problem
    kept = await asyncio.to_thread(file.read, now(), None)
    if kept is None:
        raise problem
    _warn("earlier session used", problem)
    return kept


async def _renewed(
    file: SessionFile,
    leaf: bytes,
    *,
    make: Callable[[], Awaitable[tuple[Credentials, bytes]]],
    now: Callable[[], datetime],
    waiting_since: datetime,
) -> Credentials:
    # Another process may have made it while we waited.
    kept = await asyncio.to_thread(file.read, now(), leaf)
    if kept is not None and is_enough(kept, at=now()):
        return kept
    if doubt := await asyncio.to_thread(file.doubt):
        log.warning("session file replaced", extra={"problem": doubt})
    note = FailureNote.beside(file)
    try:
        if failed := await asyncio.to_thread(note.read, waiting_since=waiting_since, at=now()):
            raise failed
        try:
            made, made_with = await make()
        except RolesAnywhereError as problem:
            await asyncio.to_thread(note.write, problem, at=now())
            raise
    except RolesAnywhereError as problem:
        if kept is None or kept.expires <= now():
            raise
        _warn("earlier session used", problem)
        return kept
    try:
        await asyncio.to_thread(file.write, made, made_with)
    except SessionFileUnusable as problem:
        _warn("session not kept", problem)
    return made


def _warn(event: str, problem: RolesAnywhereError) -> None:
    log.warning(event, extra={"code": problem.code, "problem": str(problem)})
