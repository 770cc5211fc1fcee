"""ML-DSA-44, -65 and -87 keys from PKCS#8 (FIPS 204, RFC 9881).

A key comes as its seed, as what the seed expands to, or as both. We sign from the seed, as the
library does; what it expands to alone cannot be turned back. Never shows either.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import mldsa

from rolesanywhere_sidecar import der
from rolesanywhere_sidecar.certificates import MldsaPublicKey, PublicKey
from rolesanywhere_sidecar.keys.errors import InvalidKey, UnsupportedKey
from rolesanywhere_sidecar.signing import KeyKind

SEED_BYTES: Final = 32
_SEED_TAG: Final = 0x80  # [0] IMPLICIT OCTET STRING

MldsaPrivateKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey


class _FromSeed(Protocol):
    def __call__(self, data: bytes, /) -> MldsaPrivateKey: ...


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """One of FIPS 204's three, with its matrix of ``rows`` times ``columns`` polynomials."""

    name: str
    rows: int
    columns: int
    expanded_bytes: int
    from_seed: _FromSeed


# id-ml-dsa-44, -65 and -87, as DER writes them (RFC 9881, section 3).
PARAMETER_SETS: Final[Mapping[bytes, ParameterSet]] = {
    bytes.fromhex("608648016503040311"): ParameterSet(
        "ML-DSA-44", 4, 4, 2560, mldsa.MLDSA44PrivateKey.from_seed_bytes
    ),
    bytes.fromhex("608648016503040312"): ParameterSet(
        "ML-DSA-65", 6, 5, 4032, mldsa.MLDSA65PrivateKey.from_seed_bytes
    ),
    bytes.fromhex("608648016503040313"): ParameterSet(
        "ML-DSA-87", 8, 7, 4896, mldsa.MLDSA87PrivateKey.from_seed_bytes
    ),
}


@dataclass(frozen=True, slots=True)
class MldsaKey:
    """An ML-DSA key in memory; signs in pure mode with an empty context."""

    _key: MldsaPrivateKey = field(repr=False)

    @property
    def kind(self) -> KeyKind:
        """Always MLDSA."""
        return KeyKind.MLDSA

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        return self._key.public_key()

    async def sign(self, payload: bytes) -> bytes:
        """The signature over ``payload`` itself: 2420, 3309 or 4627 bytes."""
        return self._key.sign(payload)


def parameter_set(pkcs8: bytes) -> ParameterSet | None:
    """Which ML-DSA key ``pkcs8`` (DER, not encrypted) holds; None if it holds another, or none."""
    try:
        algorithm = der.parse(pkcs8).children()[1].children()[0]
    except (der.Malformed, IndexError):
        return None
    return PARAMETER_SETS.get(algorithm.content)


def read_key(pkcs8: bytes, *, where: str) -> MldsaKey:
    """The key in ``pkcs8``, whose `parameter_set` is known.

    Raises `InvalidKey` where it is damaged or its halves disagree, and `UnsupportedKey` where it
    is what a seed expands to, without the seed.
    """
    kind = parameter_set(pkcs8)
    try:
        if kind is None:
            raise der.Malformed("not ML-DSA")
        seed, expanded = _halves(der.parse(pkcs8).children()[2].octets())
        if (seed is None and len(expanded or b"") != kind.expanded_bytes) or (
            seed is not None and len(seed) != SEED_BYTES
        ):
            raise der.Malformed("of no known size")
    except (der.Malformed, IndexError):
        raise InvalidKey(
            f"the ML-DSA private key in {where} cannot be read",
            hint="expected PKCS#8 with a seed, or with a seed and what it expands to (RFC 9881)",
        ) from None
    if seed is None:
        raise UnsupportedKey(
            f"the private key in {where} is {kind.name} in its expanded form alone, and without its"
            " seed it cannot sign here",
            hint="export it with its seed (openssl pkey -provparam"
            " ml-dsa.output_formats=seed-priv), or issue a new key",
        )
    key = kind.from_seed(seed)
    if expanded is not None and not _agree(seed, expanded, kind, key.public_key()):
        raise InvalidKey(
            f"the {kind.name} private key in {where} holds a seed and an expanded key that are not"
            " one key",
            hint="export the key anew from where it was made",
        )
    return MldsaKey(key)


def _halves(choice: bytes) -> tuple[bytes | None, bytes | None]:
    """Seed and expanded key, either of which may be None (RFC 9881, section 6)."""
    element = der.parse(choice)
    if element.tag == _SEED_TAG:
        return element.content, None
    if element.tag == der.SEQUENCE:
        halves = element.children()
        if len(halves) != 2:
            raise der.Malformed("not two halves")
        return halves[0].octets(), halves[1].octets()
    return None, element.octets()


def _agree(seed: bytes, expanded: bytes, kind: ParameterSet, public: MldsaPublicKey) -> bool:
    """Whether ``expanded`` begins with this seed's rho, K and hash of the public key.

    FIPS 204, algorithms 6 and 24. The secret polynomials behind them are not compared: nothing
    here uses them, and the hash stands for all of the public key that they belong to.
    """
    spread = hashlib.shake_256(seed + bytes([kind.rows, kind.columns])).digest(128)
    encoded = public.public_bytes_raw()
    head = spread[:32] + spread[96:] + hashlib.shake_256(encoded).digest(64)
    return len(expanded) == kind.expanded_bytes and expanded[:128] == head
