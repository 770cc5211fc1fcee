"""ML-DSA-44, -65 and -87 keys from PKCS#8 (FIPS 204, RFC 9881).

A key comes as its seed, as what the seed expands to, or as both. The library signs from the seed;
what it expands to cannot be turned back, and signs by `fips204`. Never shows either.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa

from rolesanywhere_sidecar.identities import der
from rolesanywhere_sidecar.identities.certificates import MldsaPublicKey, PublicKey
from rolesanywhere_sidecar.identities.keys import fips204
from rolesanywhere_sidecar.identities.keys.errors import InvalidKey
from rolesanywhere_sidecar.signing import KeyKind

SEED_BYTES: Final = 32
_SEED_TAG: Final = 0x80  # [0] IMPLICIT OCTET STRING

MldsaPrivateKey = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey


class _FromSeed(Protocol):
    def __call__(self, data: bytes, /) -> MldsaPrivateKey: ...


class _FromPublic(Protocol):
    def __call__(self, data: bytes, /) -> MldsaPublicKey: ...


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """One of FIPS 204's three, and how the library makes keys of it."""

    name: str
    parameters: fips204.Parameters
    from_seed: _FromSeed
    from_public: _FromPublic


# id-ml-dsa-44, -65 and -87, as DER writes them (RFC 9881, section 3).
PARAMETER_SETS: Final[Mapping[bytes, ParameterSet]] = {
    bytes.fromhex("608648016503040311"): ParameterSet(
        "ML-DSA-44",
        fips204.ML_DSA_44,
        mldsa.MLDSA44PrivateKey.from_seed_bytes,
        mldsa.MLDSA44PublicKey.from_public_bytes,
    ),
    bytes.fromhex("608648016503040312"): ParameterSet(
        "ML-DSA-65",
        fips204.ML_DSA_65,
        mldsa.MLDSA65PrivateKey.from_seed_bytes,
        mldsa.MLDSA65PublicKey.from_public_bytes,
    ),
    bytes.fromhex("608648016503040313"): ParameterSet(
        "ML-DSA-87",
        fips204.ML_DSA_87,
        mldsa.MLDSA87PrivateKey.from_seed_bytes,
        mldsa.MLDSA87PublicKey.from_public_bytes,
    ),
}


@dataclass(frozen=True, slots=True)
class MldsaKey:
    """An ML-DSA key in memory; signs in pure mode with an empty context."""

    _public: MldsaPublicKey = field(repr=False)
    _sign: Callable[[bytes], bytes] = field(repr=False)

    @classmethod
    def of(cls, key: MldsaPrivateKey) -> "MldsaKey":
        """The key that the library holds."""
        return cls(key.public_key(), key.sign)

    @property
    def kind(self) -> KeyKind:
        """Always MLDSA."""
        return KeyKind.MLDSA

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        return self._public

    async def sign(self, payload: bytes) -> bytes:
        """The signature over ``payload`` itself: 2420, 3309 or 4627 bytes."""
        # Without a seed it takes a good part of a second.
        return await asyncio.to_thread(self._sign, payload)


def parameter_set(pkcs8: bytes) -> ParameterSet | None:
    """Which ML-DSA key ``pkcs8`` (DER, not encrypted) holds; None if it holds another, or none."""
    try:
        algorithm = der.parse(pkcs8).children(2)[1].children(1)[0]
    except (der.Malformed, IndexError):
        return None
    return PARAMETER_SETS.get(algorithm.content)


def read_key(pkcs8: bytes, *, where: str) -> MldsaKey:
    """The key in ``pkcs8``, whose `parameter_set` is known.

    Raises `InvalidKey` where it is damaged, or its halves are not one key.
    """
    kind = parameter_set(pkcs8)
    try:
        if kind is None:
            raise der.Malformed("not ML-DSA")
        seed, expanded = _halves(der.parse(pkcs8).children(3)[2].octets())
        if seed is None:
            return _expanded_key(expanded, kind)
        if len(seed) != SEED_BYTES:
            raise der.Malformed("of no known size")
    except (der.Malformed, IndexError, fips204.Inconsistent):
        raise InvalidKey(
            f"the ML-DSA private key in {where} cannot be read",
            hint="expected PKCS#8 with a seed, what it expands to, or both (RFC 9881)",
        ) from None
    key = kind.from_seed(seed)
    if expanded and not _agree(seed, expanded, kind, key.public_key()):
        raise InvalidKey(
            f"the {kind.name} private key in {where} holds a seed and an expanded key that are not"
            " one key",
            hint="export the key anew from where it was made",
        )
    return MldsaKey.of(key)


def _halves(choice: bytes) -> tuple[bytes | None, bytes]:
    """The seed, or None, and the expanded key, which may be empty (RFC 9881, section 6)."""
    element = der.parse(choice)
    if element.tag == _SEED_TAG:
        return element.content, b""
    if element.tag == der.SEQUENCE:
        halves = element.children(3)
        if len(halves) != 2 or not halves[1].octets():
            raise der.Malformed("not two halves")
        return halves[0].octets(), halves[1].octets()
    return None, element.octets()


def _expanded_key(expanded: bytes, kind: ParameterSet) -> MldsaKey:
    """A key that signs by our own hands, and whose signatures the library has seen."""
    held = fips204.decode(expanded, kind.parameters)
    public = kind.from_public(held.public)

    def sign(payload: bytes) -> bytes:
        signature = fips204.sign(held, payload)
        try:
            public.verify(signature, payload)
        except InvalidSignature:
            raise InvalidKey(
                f"the {kind.name} private key made a signature that its public key does not verify",
                hint="this is a bug, or a fault of this machine: please report it",
            ) from None
        return signature

    return MldsaKey(public, sign)


def _agree(seed: bytes, expanded: bytes, kind: ParameterSet, public: MldsaPublicKey) -> bool:
    """Whether ``expanded`` is one key, and that of ``seed`` (FIPS 204, algorithm 6)."""
    try:
        held = fips204.decode(expanded, kind.parameters)
    except fips204.Inconsistent:
        return False
    size = bytes([kind.parameters.k, kind.parameters.l])
    k_seed = hashlib.shake_256(seed + size).digest(128)[96:]
    return held.public == public.public_bytes_raw() and held.k_seed == k_seed
