"""The bearer token of the container endpoint, and the file through which chosen containers get it.

The file outlives restarts of this container, so a token that an SDK has read stays good. The
token is never logged and never part of an error.
"""

import hmac
import re
import secrets
import stat
from pathlib import Path
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.names import TOKEN_DIRECTORY
from rolesanywhere_sidecar import files

# 32 random bytes, base64url: no character that a header or a shell would mind.
_WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9_-]{43}")


class TokenFileUnusable(RolesAnywhereError):
    """The token cannot be kept where the settings say."""

    code = "TokenFileUnusable"


class BearerToken:
    """A secret that can be compared, and not printed."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def matches(self, presented: str) -> bool:
        """Whether ``presented`` is this token, in time that does not depend on where it differs."""
        return hmac.compare_digest(self._value.encode(), presented.encode(errors="replace"))

    def reveal(self) -> str:
        """The token itself, for its file and for the log's redaction."""
        return self._value

    def __repr__(self) -> str:
        return "BearerToken(…)"


def keep(path: Path) -> BearerToken:
    """The token in ``path``, made and written there unless a good one of ours is there already.

    Raises `TokenFileUnusable`.
    """
    try:
        kept = _read(path)
        if kept is not None:
            return BearerToken(kept)
        token = BearerToken(secrets.token_urlsafe(32))
        _write(path, token)
    except OSError as wrong:
        raise TokenFileUnusable(
            f"the token file {path} cannot be written: {wrong.strerror}",
            hint="mount a writable folder there, or choose another with --token-file",
        ) from None
    return token


def mode_beside(folder: str, folder_mode: int) -> int:
    """The permissions of a token file in ``folder``, whose ``st_mode`` is ``folder_mode``.

    Containers of a pod run as different users. Where the pod has an fsGroup, the kubelet made the
    volume's folder setgid and every container is in that group: reading by group is enough. An
    emptyDir without one is open to all and has no group in common; there the mount alone says who
    may read, because only chosen containers have it. Its mode is 0777, and in memory 1777, which is
    /tmp's too: that counts in the folder alone where pods have their volume. Any other folder is
    shared with users that nobody chose, so its token stays with our own user and group.
    """
    is_fs_group = bool(folder_mode & stat.S_ISGID)
    is_like_tmp = bool(folder_mode & stat.S_ISVTX) and folder != TOKEN_DIRECTORY
    is_open_volume = bool(folder_mode & stat.S_IWOTH) and not is_like_tmp
    return 0o444 if is_open_volume and not is_fs_group else 0o440


def _read(path: Path) -> str | None:
    """The token in ``path``, unless there is none, or one that somebody else may have planted."""
    # A newline would break most SDKs: such a file is not ours, and is replaced.
    content = files.read_own(path, most=64)
    return content.decode() if content and _WELL_FORMED.fullmatch(content) else None


def _write(path: Path, token: BearerToken) -> None:
    mode = mode_beside(str(path.parent), path.parent.stat().st_mode)
    files.write_private(path, token.reveal().encode(), mode=mode)
