"""Keys and PKCS#12 files once opened, so that a password's cost is paid once for each content.

A key derivation is made to be slow, and an identity is loaded at every renewal. Kept in memory
alone, never by the password itself.
"""

import hashlib
from collections.abc import Callable
from typing import Final, TypeVar

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.identities.keys import open_key, pkcs12
from rolesanywhere_sidecar.identities.keys.memory import FileKey

# What an identity and the one before it may need; the oldest is forgotten.
MOST_HELD: Final = 8

_Opened = TypeVar("_Opened", FileKey, pkcs12.Store)


class OpenedKeys:
    """Opens what it has not opened before; remembers failures as well."""

    def __init__(self) -> None:
        self._keys: dict[bytes, FileKey | RolesAnywhereError] = {}
        self._stores: dict[bytes, pkcs12.Store | RolesAnywhereError] = {}

    def key(self, location: str, content: bytes, password: bytes | None) -> FileKey:
        """As `open_key`."""
        if pkcs12.recognised(content):
            return self.store(location, content, password).key()
        return _remembered(
            self._keys,
            _digest(location, content, password),
            lambda: open_key(location, content, password=password),
        )

    def store(self, location: str, content: bytes, password: bytes | None) -> pkcs12.Store:
        """As `pkcs12.open_store`."""
        return _remembered(
            self._stores,
            _digest(location, content, password),
            lambda: pkcs12.open_store(content, where=location, password=password),
        )


def _remembered(
    held: dict[bytes, _Opened | RolesAnywhereError], digest: bytes, opened: Callable[[], _Opened]
) -> _Opened:
    found = held.get(digest)
    if found is None:
        try:
            found = opened()
        except RolesAnywhereError as problem:
            found = problem.with_traceback(None)
        while len(held) >= MOST_HELD:
            del held[next(iter(held))]
        held[digest] = found
    if isinstance(found, RolesAnywhereError):
        raise found.with_traceback(None)
    return found


def _digest(location: str, content: bytes, password: bytes | None) -> bytes:
    parts = (location.encode(errors="surrogateescape"), content, password or b"")
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
