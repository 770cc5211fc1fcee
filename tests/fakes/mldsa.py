"""ML-DSA key generation from FIPS 204, for the private keys that the library does not write.

The library keeps a seed; others keep what it expands to, or both (RFC 9881, section 6). Written
from the standard's algorithms and checked by the library's own public keys. For tests: slow, and
not made to resist anybody.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Form: TypeAlias = Literal["seed", "expanded", "both"]
Polynomial: TypeAlias = list[int]

_Q: Final = 8380417
_N: Final = 256
_DROPPED: Final = 13  # d, bits dropped from t


@dataclass(frozen=True, slots=True)
class Parameters:
    """A column of FIPS 204's table 1, with the last byte of the object identifier."""

    rows: int
    columns: int
    eta: int
    arc: int


PARAMETERS: Final[Mapping[str, Parameters]] = {
    "ml-dsa-44": Parameters(4, 4, 2, 0x11),
    "ml-dsa-65": Parameters(6, 5, 4, 0x12),
    "ml-dsa-87": Parameters(8, 7, 2, 0x13),
}


def pkcs8(seed: bytes, kind: str, form: Form) -> bytes:
    """The key of ``seed`` in DER, as RFC 9881, section 6, has it."""
    if form == "seed":
        choice = _tlv(0x80, seed)
    else:
        _, expanded = expand(seed, PARAMETERS[kind])
        choice = _tlv(0x04, expanded)
        if form == "both":
            choice = _tlv(0x30, _tlv(0x04, seed) + choice)
    return wrapped(choice, kind)


def wrapped(choice: bytes, kind: str) -> bytes:
    """PKCS#8 in DER whose private key is ``choice``, whatever that is."""
    oid = bytes.fromhex("6086480165030403") + bytes([PARAMETERS[kind].arc])
    algorithm = _tlv(0x30, _tlv(0x06, oid))
    return _tlv(0x30, _tlv(0x02, b"\0") + algorithm + _tlv(0x04, choice))


def expand(seed: bytes, parameters: Parameters) -> tuple[bytes, bytes]:
    """Public and expanded private key: algorithm 6, ML-DSA.KeyGen_internal."""
    rows, columns, eta = parameters.rows, parameters.columns, parameters.eta
    spread = hashlib.shake_256(seed + bytes([rows, columns])).digest(128)
    rho, rho_prime, k = spread[:32], spread[32:96], spread[96:]
    secrets = [_bounded(rho_prime, place, eta) for place in range(rows + columns)]
    s1, s2 = secrets[:columns], secrets[columns:]
    s1_hat = [_ntt(poly) for poly in s1]
    t1: list[Polynomial] = []
    t0: list[Polynomial] = []
    for row in range(rows):
        total = [0] * _N
        for column in range(columns):
            entry = _uniform(rho, row, column)
            total = [(a + b * c) % _Q for a, b, c in zip(total, entry, s1_hat[column], strict=True)]
        high, low = _power2round(a + b for a, b in zip(_inverse(total), s2[row], strict=True))
        t1.append(high)
        t0.append(low)
    public = rho + b"".join(_packed(poly, 10) for poly in t1)
    tr = hashlib.shake_256(public).digest(64)
    width = (2 * eta).bit_length()
    small = b"".join(_packed((eta - c for c in poly), width) for poly in secrets)
    top = 1 << (_DROPPED - 1)
    large = b"".join(_packed((top - c for c in poly), _DROPPED) for poly in t0)
    return public, rho + k + tr + small + large


def _uniform(rho: bytes, row: int, column: int) -> Polynomial:
    """Algorithm 30, RejNTTPoly."""
    stream = hashlib.shake_128(rho + bytes([column, row])).digest(1536)
    triples = (stream[at : at + 3] for at in range(0, len(stream), 3))
    numbers = (int.from_bytes(each, "little") & 0x7FFFFF for each in triples)
    return [number for number in numbers if number < _Q][:_N]


def _bounded(rho_prime: bytes, place: int, eta: int) -> Polynomial:
    """Algorithm 31, RejBoundedPoly."""
    stream = hashlib.shake_256(rho_prime + place.to_bytes(2, "little")).digest(1024)
    halves = (half for byte in stream for half in (byte & 15, byte >> 4))
    if eta == 2:
        return [2 - half % 5 for half in halves if half < 15][:_N]
    return [4 - half for half in halves if half < 9][:_N]


def _zetas() -> Iterator[int]:
    for place in range(_N):
        yield pow(1753, int(f"{place:08b}"[::-1], 2), _Q)


_ZETAS: Final = tuple(_zetas())


def _ntt(poly: Polynomial) -> Polynomial:
    """Algorithm 41."""
    w, m, length = list(poly), 0, 128
    while length >= 1:
        for start in range(0, _N, 2 * length):
            m += 1
            for j in range(start, start + length):
                t = _ZETAS[m] * w[j + length] % _Q
                w[j], w[j + length] = (w[j] + t) % _Q, (w[j] - t) % _Q
        length //= 2
    return w


def _inverse(poly: Polynomial) -> Polynomial:
    """Algorithm 42."""
    w, m, length = list(poly), _N, 1
    while length < _N:
        for start in range(0, _N, 2 * length):
            m -= 1
            for j in range(start, start + length):
                t = w[j]
                w[j] = (t + w[j + length]) % _Q
                w[j + length] = -_ZETAS[m] * (t - w[j + length]) % _Q
        length *= 2
    return [each * 8347681 % _Q for each in w]


def _power2round(poly: Iterable[int]) -> tuple[Polynomial, Polynomial]:
    """Algorithm 35, for all coefficients."""
    high: Polynomial = []
    low: Polynomial = []
    for each in poly:
        rest = each % _Q % (1 << _DROPPED)
        rest -= (1 << _DROPPED) if rest > 1 << (_DROPPED - 1) else 0
        high.append((each % _Q - rest) >> _DROPPED)
        low.append(rest)
    return high, low


def _packed(numbers: Iterable[int], width: int) -> bytes:
    """Algorithm 16, SimpleBitPack."""
    total = sum(number << (width * place) for place, number in enumerate(numbers))
    return total.to_bytes(_N * width // 8, "little")


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
