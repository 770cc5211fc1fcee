"""Private keys in memory that sign: RSA, ECDSA and, from its own module, ML-DSA.

Which keys may sign at all is decided here. Never reads or shows one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from rolesanywhere_sidecar.identities.certificates import PublicKey
from rolesanywhere_sidecar.identities.keys.errors import UnsupportedKey
from rolesanywhere_sidecar.identities.keys.mldsa import MldsaKey, MldsaPrivateKey
from rolesanywhere_sidecar.signing import KeyKind

MINIMUM_RSA_BITS: Final = 2048
CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
SUPPORTED: Final = (
    "expected RSA of 2048 bits or more, ECDSA on P-256, P-384 or P-521, or ML-DSA-44, -65 or -87"
)


class Digest(StrEnum):
    """What a payload may be hashed with before it is signed; the service takes SHA-256 alone."""

    SHA256 = "SHA256"
    SHA384 = "SHA384"
    SHA512 = "SHA512"


HASHES: Final[Mapping[Digest, hashes.HashAlgorithm]] = {
    Digest.SHA256: hashes.SHA256(),
    Digest.SHA384: hashes.SHA384(),
    Digest.SHA512: hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class RsaKey:
    """An RSA key in memory; signs PKCS#1 v1.5."""

    _key: rsa.RSAPrivateKey = field(repr=False)

    @property
    def kind(self) -> KeyKind:
        """Always RSA."""
        return KeyKind.RSA

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        return self._key.public_key()

    async def sign(self, payload: bytes, digest: Digest = Digest.SHA256) -> bytes:
        """The signature over ``payload``, as long as the modulus."""
        return self._key.sign(payload, padding.PKCS1v15(), HASHES[digest])


@dataclass(frozen=True, slots=True)
class EcdsaKey:
    """An elliptic-curve key in memory; signs ECDSA, with SHA-256 whatever the curve."""

    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def kind(self) -> KeyKind:
        """Always ECDSA."""
        return KeyKind.ECDSA

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        return self._key.public_key()

    async def sign(self, payload: bytes, digest: Digest = Digest.SHA256) -> bytes:
        """The signature over ``payload``, in DER."""
        return self._key.sign(payload, ec.ECDSA(HASHES[digest]))


# `sign` of all of them meets `SigningKey`; that of the first two also takes another `Digest`.
FileKey = RsaKey | EcdsaKey | MldsaKey


def signing_with(key: object, *, where: str) -> FileKey:
    """The signer for a key of ``cryptography``. Raises `UnsupportedKey` for one that cannot."""
    if isinstance(key, rsa.RSAPrivateKey):
        check_public(key.public_key(), where=where)
        return RsaKey(key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        check_public(key.public_key(), where=where)
        return EcdsaKey(key)
    if isinstance(key, MldsaPrivateKey):
        return MldsaKey.of(key)
    raise unsupported(where, "is neither RSA nor ECDSA nor ML-DSA")


def check_public(public_key: PublicKey, *, where: str) -> None:
    """Returns if the service takes keys of this size, or on this curve. Raises `UnsupportedKey`."""
    match public_key:
        case rsa.RSAPublicKey(key_size=bits) if bits < MINIMUM_RSA_BITS:
            raise unsupported(where, f"is RSA of {bits} bits")
        case ec.EllipticCurvePublicKey(curve=curve) if not isinstance(curve, CURVES):
            raise unsupported(where, f"is on the curve {curve.name}")


def unsupported(where: str, problem: str) -> UnsupportedKey:
    """That the private key in ``where`` has ``problem``, and what is expected."""
    return UnsupportedKey(f"the private key in {where} {problem}", hint=SUPPORTED)
