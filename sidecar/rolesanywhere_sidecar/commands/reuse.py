"""One session for many processes: the first makes it, the others take it from the session file.

The file and its lock save CreateSession calls and are allowed to fail: then each process makes a
session of its own, and says why. Never keeps anything in memory.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar import locks
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.locks import LockUnavailable
from rolesanywhere_sidecar.renewal.sessionfile import SessionFile, SessionFileUnusable

log = logging.getLogger(__name__)

# SDKs ask for new credentials once less than 15 minutes are left (botocore, "advisory refresh"):
# a session with less life than that would only bring them back at once.
SDK_REFRESH: Final = timedelta(minutes=15)

# Seconds that another process may take to make the session that we wait for. One that hangs costs
# so much and no more: Go's SDK gives a credential process a minute altogether.
PATIENCE_SECONDS: Final = 20.0


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

    Raises what ``make`` raises, unless the session in the file is still valid.
    """
    kept = await asyncio.to_thread(file.read, now(), leaf)
    if kept is not None and is_enough(kept, at=now()):
        return kept
    async with AsyncExitStack() as stack:
        try:
            lock = locks.held(locks.beside(file.path), within=patience)
            await stack.enter_async_context(lock)
        except LockUnavailable as problem:
            _warn("session made without the lock", problem)
        return await _renewed(file, leaf, make=make, now=now)


async def _renewed(
    file: SessionFile,
    leaf: bytes,
    *,
    make: Callable[[], Awaitable[tuple[Credentials, bytes]]],
    now: Callable[[], datetime],
) -> Credentials:
    # Another process may have made it while we waited.
    kept = await asyncio.to_thread(file.read, now(), leaf)
    if kept is not None and is_enough(kept, at=now()):
        return kept
    if doubt := await asyncio.to_thread(file.doubt):
        log.warning("session file replaced", extra={"problem": doubt})
    try:
        made, made_with = await make()
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
