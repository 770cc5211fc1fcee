"""Private keys in PEM: PKCS#8, PKCS#1 and SEC1; RSA, P-256, P-384 and P-521.

Never reads the file itself, and never repeats a parser's message: it could quote the key.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rolesanywhere_sidecar.identity import PublicKey
from rolesanywhere_sidecar.keys.errors import InvalidKey, UnsupportedKey
from rolesanywhere_sidecar.signing import KeyKind

MINIMUM_RSA_BITS: Final = 2048
CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

_SUPPORTED: Final = "expected RSA of 2048 bits or more, or ECDSA on P-256, P-384 or P-521"
_BLOCK = re.compile(
    rb"-----BEGIN (?P<label>[A-Z0-9 ]*PRIVATE KEY)-----.*?-----END (?P=label)-----", re.DOTALL
)
_LABELS: Final = (b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY")

# PEM labels of keys that are none of ours, and how to make them so.
_FOREIGN: Final[Mapping[bytes, tuple[str, str]]] = {
    b"OPENSSH PRIVATE KEY": (
        "is in OpenSSH's own format",
        "convert a copy with ssh-keygen -p -m PKCS8",
    ),
    b"DSA PRIVATE KEY": ("is a DSA key", _SUPPORTED),
    b"TSS2 PRIVATE KEY": (
        "is a TPM's, and keys in an HSM or TPM are not in this version yet",
        "give a PEM file with the key itself",
    ),
}


@dataclass(frozen=True, slots=True)
class RsaKey:
    """An RSA key in memory; signs PKCS#1 v1.5 with SHA-256."""

    _key: rsa.RSAPrivateKey = field(repr=False)

    @property
    def kind(self) -> KeyKind:
        """Always RSA."""
        return KeyKind.RSA

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        return self._key.public_key()

    async def sign(self, payload: bytes) -> bytes:
        """The signature over ``payload``, as long as the modulus."""
        return self._key.sign(payload, padding.PKCS1v15(), hashes.SHA256())


@dataclass(frozen=True, slots=True)
class EcdsaKey:
    """An elliptic-curve key in memory; signs ECDSA with SHA-256, whatever the curve."""

    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def kind(self) -> KeyKind:
        """Always ECDSA."""
        return KeyKind.ECDSA

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        return self._key.public_key()

    async def sign(self, payload: bytes) -> bytes:
        """The signature over ``payload``, in DER."""
        return self._key.sign(payload, ec.ECDSA(hashes.SHA256()))


def read_key(pem: bytes, *, where: str) -> RsaKey | EcdsaKey:
    """The first private key in ``pem``; certificates around it do not matter.

    Raises `InvalidKey` when there is none or it is damaged, and `UnsupportedKey` for an encrypted
    one and for algorithms, sizes and curves that cannot sign here.
    """
    block = _private_block(pem, where=where)
    try:
        key = load_pem_private_key(block, password=None)
    except UnsupportedAlgorithm:
        raise _unsupported(where, "is of an algorithm or curve that is not supported") from None
    except (ValueError, TypeError):
        raise InvalidKey(
            f"the private key in {where} cannot be read",
            hint="it must be complete, from its BEGIN line to its END line; openssl pkey checks it",
        ) from None
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < MINIMUM_RSA_BITS:
            raise _unsupported(where, f"is RSA of {key.key_size} bits")
        return RsaKey(key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if not isinstance(key.curve, CURVES):
            raise _unsupported(where, f"is on the curve {key.curve.name}")
        return EcdsaKey(key)
    raise _unsupported(where, "is neither RSA nor ECDSA")


def _private_block(pem: bytes, *, where: str) -> bytes:
    """The key's own PEM block, found by us so that a file may hold parameters or certificates."""
    found = _BLOCK.search(pem)
    if found is None:
        raise InvalidKey(
            f"{where} holds no PEM private key",
            hint="expected -----BEGIN PRIVATE KEY----- (or RSA or EC) up to its END line",
        )
    label = found["label"]
    if label == b"ENCRYPTED PRIVATE KEY" or b"\nProc-Type: 4,ENCRYPTED" in found[0]:
        raise UnsupportedKey(
            f"the private key in {where} is encrypted",
            hint="decrypt it, for example with openssl pkey, and protect the file instead",
        )
    if label in _FOREIGN:
        problem, hint = _FOREIGN[label]
        raise UnsupportedKey(f"the private key in {where} {problem}", hint=hint)
    if label not in _LABELS:
        raise _unsupported(where, f"is a {label.decode()!r} block")
    return found[0]


def _unsupported(where: str, problem: str) -> UnsupportedKey:
    return UnsupportedKey(f"the private key in {where} {problem}", hint=_SUPPORTED)
