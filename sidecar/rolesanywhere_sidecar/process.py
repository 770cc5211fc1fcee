"""``credential-process``: one session, printed as AWS SDKs read it from a process.

The format is that of "Sourcing credentials with an external process" (AWS SDKs and Tools
reference). Standard output is the credentials or nothing; why there are none is one line on
standard error. Never caches.
"""

import asyncio
import json
import logging
import os
import random
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.credentials import Credentials, SessionSource
from rolesanywhere_sidecar.identities import IdentityFiles
from rolesanywhere_sidecar.rolesanywhere import RolesAnywhere
from rolesanywhere_sidecar.version import PROGRAM

# Before the second and the third attempt, in seconds, before jitter: an SDK waits for us.
PAUSES: Final = (1.0, 3.0)

# What a shell calls a program that SIGINT ended.
INTERRUPTED: Final = 130


class OutputClosed(RolesAnywhereError):
    """Standard output takes no credentials."""

    code = "OutputClosed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the credentials cannot be written to standard output: {reason}")


def main(settings: Settings) -> int:
    """Print a session; the exit code is 0, 1 when there is none, or 130 when interrupted."""
    _warn_in_sentences()
    try:
        if sys.stdout is None:
            raise OutputClosed("it is closed")
        _write(document(asyncio.run(_fetch(settings))))
    except KeyboardInterrupt:
        return INTERRUPTED
    except RolesAnywhereError as problem:
        _tell(f"{problem.code}: {problem}")
        return 1
    except Exception as bug:
        # Its text and its traceback may hold anything, and here nothing redacts.
        kind = type(bug).__name__
        _tell(f"{RolesAnywhereError.code}: an unforeseen {kind}; this is a bug: please report it")
        return 1
    return 0


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


def _write(line: str) -> None:
    """Raises `OutputClosed`."""
    try:
        # Not print: what sys.stdout fails to flush, the interpreter tries again as it ends.
        with os.fdopen(sys.stdout.fileno(), "w", closefd=False) as output:
            output.write(f"{line}\n")
    except OSError as problem:
        raise OutputClosed(problem.strerror or type(problem).__name__) from None


def _tell(sentence: str) -> None:
    # Without a standard error print would take standard output.
    if sys.stderr is not None:
        print(f"{PROGRAM}: {sentence}", file=sys.stderr)


class _Sentence(logging.Formatter):
    """For somebody at a terminal, not for a log collector."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{PROGRAM}: {record.getMessage()}: {getattr(record, 'problem', '')}"


def _warn_in_sentences() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Sentence())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


async def _fetch(settings: Settings) -> Credentials:
    source = RolesAnywhere(
        settings,
        IdentityFiles.of(settings),
        now=lambda: datetime.now(UTC),
        env=os.environ,
    )
    try:
        return await session_from(source, draw=random.random, pause=asyncio.sleep)
    finally:
        await source.close()
