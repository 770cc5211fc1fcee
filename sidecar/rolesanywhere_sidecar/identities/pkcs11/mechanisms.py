"""Which mechanism a token signs with, what it is given, and what becomes of its answer.

Never a module's default, which is SHA-512 in python-pkcs11, where the service wants SHA-256 of
every RSA and ECDSA key. Pure: numbers are PKCS#11's own (v3.2, pkcs11t.h).
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from rolesanywhere_sidecar.identities.keys import Digest, UnsupportedKey
from rolesanywhere_sidecar.signing import KeyKind


class KeyType(IntEnum):
    """CKK_*, of keys that can sign for the service."""

    RSA = 0x00
    EC = 0x03
    ML_DSA = 0x4A


class Mechanism(IntEnum):
    """CKM_*, of those that sign as the service verifies."""

    RSA_PKCS = 0x01
    ML_DSA = 0x1D
    SHA256_RSA_PKCS = 0x40
    SHA384_RSA_PKCS = 0x41
    SHA512_RSA_PKCS = 0x42
    ECDSA = 0x1041
    ECDSA_SHA256 = 0x1044
    ECDSA_SHA384 = 0x1045
    ECDSA_SHA512 = 0x1046


@dataclass(frozen=True, slots=True)
class Task:
    """A mechanism and what to give it."""

    mechanism: Mechanism
    data: bytes


KIND: Final[Mapping[int, KeyKind]] = {
    KeyType.RSA: KeyKind.RSA,
    KeyType.EC: KeyKind.ECDSA,
    KeyType.ML_DSA: KeyKind.MLDSA,
}

_RSA_HASHING: Final[Mapping[Digest, Mechanism]] = {
    Digest.SHA256: Mechanism.SHA256_RSA_PKCS,
    Digest.SHA384: Mechanism.SHA384_RSA_PKCS,
    Digest.SHA512: Mechanism.SHA512_RSA_PKCS,
}
_EC_HASHING: Final[Mapping[Digest, Mechanism]] = {
    Digest.SHA256: Mechanism.ECDSA_SHA256,
    Digest.SHA384: Mechanism.ECDSA_SHA384,
    Digest.SHA512: Mechanism.ECDSA_SHA512,
}

# What goes before the digest in a DigestInfo (RFC 8017, section 9.2, note 1).
_DIGEST_INFO: Final[Mapping[Digest, bytes]] = {
    Digest.SHA256: bytes.fromhex("3031300d060960864801650304020105000420"),
    Digest.SHA384: bytes.fromhex("3041300d060960864801650304020205000430"),
    Digest.SHA512: bytes.fromhex("3051300d060960864801650304020305000440"),
}


def kind_of(key_type: int, *, where: object) -> KeyKind:
    """What the service's algorithms call a key of this type; ``where`` shows as its place.

    Raises `UnsupportedKey`.
    """
    kind = KIND.get(key_type)
    if kind is None:
        raise UnsupportedKey(
            f"the private key in {where} is neither RSA nor ECDSA nor ML-DSA",
            hint="make one of these in the token",
        )
    return kind


def task(
    kind: KeyKind, payload: bytes, *, offered: Collection[int], digest: Digest, where: object
) -> Task:
    """How a token that offers these mechanisms signs ``payload``. Raises `UnsupportedKey`.

    An elliptic curve signs the digest, whatever the curve: not every module hashes for it.
    """
    match kind:
        case KeyKind.RSA:
            hashing, plain = _RSA_HASHING[digest], Mechanism.RSA_PKCS
            prepared = _DIGEST_INFO[digest] + _hash(digest, payload)
            choice = (Task(hashing, payload), Task(plain, prepared))
        case KeyKind.ECDSA:
            hashing, plain = _EC_HASHING[digest], Mechanism.ECDSA
            choice = (Task(plain, _hash(digest, payload)), Task(hashing, payload))
        case KeyKind.MLDSA:
            choice = (Task(Mechanism.ML_DSA, payload),) * 2
    for each in choice:
        if each.mechanism in offered:
            return each
    named = " nor ".join(dict.fromkeys(f"CKM_{each.mechanism.name}" for each in choice))
    raise UnsupportedKey(
        f"the token of {where} offers neither {named}, which its {kind} key would sign with",
        hint="use another kind of key there, or another module for this token",
    )


def signature(kind: KeyKind, raw: bytes) -> bytes:
    """What a token gave, as the service takes it: ECDSA in DER. A wrong length is left as it is."""
    if kind is not KeyKind.ECDSA or len(raw) % 2:
        return raw
    half = len(raw) // 2
    return encode_dss_signature(
        int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
    )


def _hash(digest: Digest, payload: bytes) -> bytes:
    """A module signs a digest of any length without a murmur, so it is made here."""
    return hashlib.new(digest.value, payload).digest()
