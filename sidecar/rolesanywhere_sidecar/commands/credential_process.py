"""``credential-process``: one session, printed as AWS SDKs read it from a process.

The format is that of "Sourcing credentials with an external process" (AWS SDKs and Tools
reference). Without a session file each run makes a session of its own.
"""

import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import running
from rolesanywhere_sidecar.commands import terminal
from rolesanywhere_sidecar.commands.reuse import session_for_all, session_while_away
from rolesanywhere_sidecar.credentials import Credentials, SessionSource
from rolesanywhere_sidecar.identities import sources
from rolesanywhere_sidecar.renewal.sessionfile import SessionFile, leaf_digest

if TYPE_CHECKING:
    from rolesanywhere_sidecar.service.rolesanywhere import IdentitySource

# Before the second and the third attempt, in seconds, before jitter: an SDK waits for us.
PAUSES: Final = (1.0, 3.0)


def main(settings: Settings) -> int:
    """Print a session; the exit code is 0, 1 when there is none, or 130 when interrupted."""
    return terminal.run(
        lambda: f"{document(running.run(_fetch(settings)))}\n".encode(), what="credentials"
    )


def document(credentials: Credentials) -> str:
    """``credentials`` as one line of JSON, Version 1."""
    return json.dumps(
        {
            "Version": 1,
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "SessionToken": credentials.session_token,
            # Exactly so: several SDKs read neither "+00:00" nor fractions of a second.
            "Expiration": credentials.expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "AccountId": credentials.account_id,
        }
    )


async def session_from(
    source: SessionSource,
    *,
    draw: Callable[[], float],
    pause: Callable[[float], Awaitable[None]],
) -> Credentials:
    """A session, asked for again after each failure that time can heal, but no more than thrice.

    ``draw`` gives a number in [0, 1): each pause is at least half its length.
    """
    for seconds in PAUSES:
        try:
            return await source.create_session()
        except RolesAnywhereError as problem:
            if not problem.retryable:
                raise
        await pause(seconds * (1 + draw()) / 2)
    return await source.create_session()


async def _fetch(settings: Settings) -> Credentials:
    with closing(sources.source(settings, env=os.environ)) as identities:
        file = SessionFile.of(settings)
        if file is None:
            return (await _make(settings, identities))[0]
        try:
            # Not checked: a session that is kept outlives its certificate.
            identity, _ = await identities.load()
        except RolesAnywhereError as problem:
            return await session_while_away(file, problem, now=_now)
        return await session_for_all(
            file, leaf_digest(identity), make=lambda: _make(settings, identities), now=_now
        )


async def _make(settings: Settings, identities: "IdentitySource") -> tuple[Credentials, bytes]:
    """A new session, and the digest of the certificate that made it."""
    # Who takes a session that is kept does not wait for what speaks HTTP.
    from rolesanywhere_sidecar.service.rolesanywhere import RolesAnywhere

    source = RolesAnywhere(settings, identities, now=_now, env=os.environ)
    try:
        made = await session_from(source, draw=random.random, pause=asyncio.sleep)
        return made, leaf_digest(source.accepted) if source.accepted else b""
    finally:
        await source.close()


def _now() -> datetime:
    return datetime.now(UTC)
