"""The shared credentials file of AWS SDKs and the CLI, one profile of which is ours to write.

Everything else in it is somebody's: it is replaced whole or not at all, with every other line as
it was. Never writes what it could not read first, and never without the lock.
"""

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar import files, locks
from rolesanywhere_sidecar.commands.profiles import with_values
from rolesanywhere_sidecar.credentials import Credentials

# Where it is ("Location of the shared config and credentials files", AWS SDKs and Tools).
VARIABLE: Final = "AWS_SHARED_CREDENTIALS_FILE"
USUAL: Final = "~/.aws/credentials"

# Seconds that another update may take to write its profile.
PATIENCE_SECONDS: Final = 10.0

# One value a line, and nothing that a reader could take for a line's end.
_VALUE: Final = re.compile(r"[!-~]+")


class CredentialsFileUnusable(RolesAnywhereError):
    """The profile cannot be written; what was there is as it was."""

    code = "CredentialsFileUnusable"


@dataclass(frozen=True, slots=True)
class CredentialsFile:
    """The file at ``path``, which may be a link, and the profile in it.

    All that may hang is done in threads, so that a signal still ends the process.
    """

    path: Path
    profile: str

    @classmethod
    def of(cls, profile: str, env: Mapping[str, str]) -> Self:
        """The file that ``env`` names, or the usual one. Raises `CredentialsFileUnusable`."""
        named = Path(env.get(VARIABLE) or USUAL)
        try:
            return cls(named.expanduser(), profile)
        except RuntimeError:  # no HOME, and no entry for our user
            raise _unusable(named, "this user has no home folder") from None

    async def write(self, credentials: Credentials) -> None:
        """Set the profile's keys. Raises `CredentialsFileUnusable` or `locks.LockUnavailable`."""
        values = _values(credentials, self.path)
        try:
            target = await asyncio.to_thread(self._target)
            async with locks.held(locks.beside(target), within=PATIENCE_SECONDS):
                await asyncio.to_thread(self._replace, target, values)
        except (OSError, ValueError) as wrong:  # a null in the name is a ValueError
            reason = getattr(wrong, "strerror", None) or "its name has a null character"
            raise _unusable(self.path, reason) from None

    def _target(self) -> Path:
        """The file that the path leads to, in a folder that exists."""
        target = Path(os.path.realpath(self.path))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return target

    def _replace(self, target: Path, values: Mapping[str, str]) -> None:
        try:
            before = target.stat()
            content = files.read_regular(target)
        except FileNotFoundError:
            before, content = None, b""
        # Whatever bytes there are, they come back as they were.
        text = content.decode(errors="surrogateescape")
        written = with_values(text, self.profile, values).encode(errors="surrogateescape")
        is_anothers = before is not None and before.st_uid != os.geteuid()
        files.write_private(
            target,
            written,
            mode=before.st_mode & 0o600 if before else 0o600,
            owner=(before.st_uid, before.st_gid) if before and is_anothers else None,
            durable=True,
        )


def _values(credentials: Credentials, path: Path) -> Mapping[str, str]:
    values = {
        "aws_access_key_id": credentials.access_key_id,
        "aws_secret_access_key": credentials.secret_access_key,
        "aws_session_token": credentials.session_token,
    }
    if odd := [name for name, value in values.items() if not _VALUE.fullmatch(value)]:
        raise _unusable(path, f"the session's {odd[0]} has characters that have no place in it")
    return values


def _unusable(path: Path, reason: str) -> CredentialsFileUnusable:
    return CredentialsFileUnusable(
        f"the credentials file {path} cannot be written: {reason}",
        hint=f"name a file in a folder that is yours with {VARIABLE}",
    )
