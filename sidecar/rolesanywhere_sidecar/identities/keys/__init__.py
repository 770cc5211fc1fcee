"""Private keys that sign for us, wherever they live.

Who signs knows `SigningKey` alone; each kind of key has its own module, and those in a token a room
of their own, `pkcs11`. Never shows a key: not in an error, not in a log, not in a ``repr``.
"""

from typing import Protocol

from rolesanywhere_sidecar.identities.certificates import PublicKey
from rolesanywhere_sidecar.identities.keys import file
from rolesanywhere_sidecar.identities.keys.errors import (
    InvalidKey,
    PasswordMissing,
    PasswordWrong,
    UnsupportedKey,
)
from rolesanywhere_sidecar.identities.keys.memory import Digest, FileKey
from rolesanywhere_sidecar.signing import KeyKind

__all__ = [
    "Digest",
    "FileKey",
    "InvalidKey",
    "PasswordMissing",
    "PasswordWrong",
    "SigningKey",
    "UnsupportedKey",
    "open_key",
]


class SigningKey(Protocol):
    """A private key that may be asked to sign, and for nothing else."""

    @property
    def kind(self) -> KeyKind:
        """Which of the service's algorithms this key signs with."""
        ...

    @property
    def public_key(self) -> PublicKey:
        """The public half, by which the certificate is found."""
        ...

    async def sign(self, payload: bytes) -> bytes:
        """``payload``, signed as the service's algorithm for `kind` says.

        PKCS#1 v1.5 with SHA-256 for RSA, DER with SHA-256 for ECDSA, and for ML-DSA pure mode
        with an empty context.
        """
        ...


def open_key(location: str, content: bytes, *, password: bytes | None = None) -> FileKey:
    """The key at ``location``, whose file holds ``content``: PEM, DER or PKCS#12.

    Raises `InvalidKey`, `PasswordMissing`, `PasswordWrong` or `UnsupportedKey`.
    """
    return file.read_key(content, where=location, password=password)
