"""PKCS#12 files: a private key and certificates in one container (RFC 7292).

Modern ones (AES, PBKDF2, SHA-256) and those that OpenSSL 1, Java and Windows wrote. Never repeats
the library's words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs12

from rolesanywhere_sidecar.identities.certificates import quietly
from rolesanywhere_sidecar.identities.keys import costs, legacy
from rolesanywhere_sidecar.identities.keys.errors import (
    InvalidKey,
    PasswordMissing,
    PasswordWrong,
    UnsupportedKey,
)
from rolesanywhere_sidecar.identities.keys.memory import FileKey, signing_with

# PFX ::= SEQUENCE { version INTEGER {v3(3)}, authSafe ContentInfo, … }, in DER or BER.
_BEGINS = re.compile(
    rb"0(?:\x80|[\x00-\x7f]|\x81.|\x82..|\x83...|\x84....)\x02\x01\x030", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Store:
    """What an opened file holds; the leaf, where it is marked as the key's, comes first."""

    certificates: tuple[x509.Certificate, ...]
    where: str
    _key: object = field(repr=False)

    def key(self) -> FileKey:
        """Its private key. Raises `InvalidKey` for none, and `UnsupportedKey`."""
        if self._key is None:
            raise InvalidKey(
                f"the PKCS#12 file {self.where} holds no private key",
                hint="export it with the key, or name the key's own file",
            )
        return signing_with(self._key, where=self.where)


def recognised(content: bytes) -> bool:
    """Whether ``content`` begins as PKCS#12 does."""
    return _BEGINS.match(content) is not None


def open_store(content: bytes, *, where: str, password: bytes | None) -> Store:
    """What ``content`` holds. No password and an empty one are the same here.

    Raises `PasswordMissing`, `PasswordWrong` or `UnsupportedKey`. A file that is damaged says the
    same as one whose password is wrong: its checksum is over both.
    """
    what = f"the PKCS#12 file {where}"
    if password and b"\0" in password:
        # It would end a C string in there: the library does not survive that.
        raise PasswordWrong(what)
    try:
        if problem := costs.of_store(content).problem:
            raise UnsupportedKey(f"{what} {problem}", hint=costs.HINT)
        found = _loaded(content, password or None)
        certificates = tuple(_certificates(found))
    except UnsupportedKey:
        raise
    except UnsupportedAlgorithm:
        raise legacy.refusal(content, what=what) or UnsupportedKey(
            f"{what} is encrypted in a way that is not supported",
            hint="export it anew with a current version of openssl pkcs12",
        ) from None
    except Exception:  # whatever a parser finds in it: its words may quote what it read
        if refusal := legacy.refusal(content, what=what):
            raise refusal from None
        raise (PasswordWrong(what) if password else PasswordMissing(what)) from None
    return Store(certificates, where, found.key)


def _loaded(content: bytes, password: bytes | None) -> pkcs12.PKCS12KeyAndCertificates:
    """A file without a password is no worse for one that is set."""
    with quietly():
        try:
            return pkcs12.load_pkcs12(content, password)
        except ValueError:
            if password is None:
                raise
            return pkcs12.load_pkcs12(content, None)


def _certificates(found: pkcs12.PKCS12KeyAndCertificates) -> Iterator[x509.Certificate]:
    for held in (found.cert, *found.additional_certs):
        if held is not None:
            yield held.certificate
