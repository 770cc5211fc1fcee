"""Signing with an expanded ML-DSA key, which the library cannot: FIPS 204, algorithms 7 and 24.

For keys that come without their seed (RFC 9881, section 6) and for nothing else. Plain integers,
deterministic, and not in constant time: it signs when a session is due, and nobody outside can
have it sign or watch it closely. What it signs is verified by the library before it is used
(`mldsa`). Names are the standard's. No I/O.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

Polynomial: TypeAlias = Sequence[int]
Vector: TypeAlias = tuple[Polynomial, ...]

Q: Final = 8380417
N: Final = 256
D: Final = 13


@dataclass(frozen=True, slots=True)
class Parameters:
    """A row of table 1, turned: ``k`` and ``l`` are the matrix, ``strength`` is lambda in bits."""

    k: int
    l: int  # noqa: E741 - the standard's name
    eta: int
    tau: int
    strength: int
    gamma1: int
    gamma2: int
    omega: int

    @property
    def beta(self) -> int:
        """How much a challenge times a secret may change a coefficient."""
        return self.tau * self.eta


ML_DSA_44: Final = Parameters(4, 4, 2, 39, 128, 1 << 17, (Q - 1) // 88, 80)
ML_DSA_65: Final = Parameters(6, 5, 4, 49, 192, 1 << 19, (Q - 1) // 32, 55)
ML_DSA_87: Final = Parameters(8, 7, 2, 60, 256, 1 << 19, (Q - 1) // 32, 75)


class Inconsistent(ValueError):
    """The parts of an expanded key do not belong together."""


@dataclass(frozen=True, slots=True)
class ExpandedKey:
    """A private key ready to sign; ``public`` is the encoded public key."""

    parameters: Parameters
    public: bytes
    k_seed: bytes = field(repr=False)
    tr: bytes = field(repr=False)
    a_hat: tuple[Vector, ...] = field(repr=False)
    s1_hat: Vector = field(repr=False)
    s2_hat: Vector = field(repr=False)
    t0_hat: Vector = field(repr=False)


def decode(expanded: bytes, parameters: Parameters) -> ExpandedKey:
    """Algorithm 25, skDecode, and the check that all of it is one key.

    Raises `Inconsistent`.
    """
    p, bits = parameters, (2 * parameters.eta).bit_length()
    sizes = [32, 32, 64] + [32 * bits] * (p.l + p.k) + [32 * D] * p.k
    if len(expanded) != sum(sizes):
        raise Inconsistent
    ends = itertools.accumulate(sizes)
    rho, k_seed, tr, *rest = (
        expanded[end - size : end] for end, size in zip(ends, sizes, strict=True)
    )
    secrets = [_unpacked(part, bits, p.eta) for part in rest[: p.l + p.k]]
    t0 = [_unpacked(part, D, 1 << (D - 1)) for part in rest[p.l + p.k :]]
    if any(abs(each) > p.eta for secret in secrets for each in secret):
        raise Inconsistent
    s1, s2 = secrets[: p.l], secrets[p.l :]
    a_hat = tuple(tuple(_sampled(rho, r, s) for s in range(p.l)) for r in range(p.k))
    s1_hat = tuple(map(_ntt, s1))
    t = [_sum(product, low) for product, low in zip(_times(a_hat, s1_hat), s2, strict=True)]
    rounded = [[_power2round(each) for each in poly] for poly in t]
    public = rho + b"".join(_packed((high for high, _ in poly), 10) for poly in rounded)
    if [[low for _, low in poly] for poly in rounded] != t0 or tr != _h(public, 64):
        raise Inconsistent
    s2_hat, t0_hat = tuple(map(_ntt, s2)), tuple(map(_ntt, t0))
    return ExpandedKey(p, public, k_seed, tr, a_hat, s1_hat, s2_hat, t0_hat)


def sign(key: ExpandedKey, message: bytes) -> bytes:
    """The signature over ``message``: pure, with an empty context, deterministic."""
    p = key.parameters
    mu = _h(key.tr + b"\0\0" + message, 64)
    mask_seed = _h(key.k_seed + bytes(32) + mu, 64)
    for kappa in itertools.count(0, p.l):
        y = [_mask(mask_seed, kappa + r, p) for r in range(p.l)]
        w = _times(key.a_hat, tuple(map(_ntt, y)))
        w1 = [[_decomposed(each, p.gamma2)[0] for each in poly] for poly in w]
        width = ((Q - 1) // (2 * p.gamma2) - 1).bit_length()
        challenge = _h(mu + b"".join(_packed(poly, width) for poly in w1), p.strength // 4)
        c_hat = _ntt(_in_ball(challenge, p.tau))
        z = [_sum(a, _product(c_hat, b)) for a, b in zip(y, key.s1_hat, strict=True)]
        if _norm(z) >= p.gamma1 - p.beta:
            continue
        rest = [_sum(a, _product(c_hat, b), -1) for a, b in zip(w, key.s2_hat, strict=True)]
        low = [[_decomposed(each, p.gamma2)[1] for each in poly] for poly in rest]
        ct0 = [_product(c_hat, each) for each in key.t0_hat]
        if _norm(low) >= p.gamma2 - p.beta or _norm(ct0) >= p.gamma2:
            continue
        hints = [list(_hints(a, b, p.gamma2)) for a, b in zip(rest, ct0, strict=True)]
        if sum(map(len, hints)) <= p.omega:
            return challenge + _encoded(z, hints, p)
    raise AssertionError  # count() has no end


def _encoded(z: Sequence[Polynomial], hints: Sequence[Sequence[int]], p: Parameters) -> bytes:
    """Algorithm 26, sigEncode, without the challenge; ``hints`` are the places of ones."""
    width = (2 * p.gamma1 - 1).bit_length()
    packed = b"".join(_packed((p.gamma1 - _centred(each) for each in poly), width) for poly in z)
    places = bytes(itertools.chain.from_iterable(hints))
    ends = bytes(itertools.accumulate(map(len, hints)))
    return packed + places.ljust(p.omega, b"\0") + ends


def _hints(rest: Polynomial, ct0: Polynomial, gamma2: int) -> Iterator[int]:
    """Algorithm 39, MakeHint, where it is one."""
    for place, (before, change) in enumerate(zip(rest, ct0, strict=True)):
        if _decomposed(before + change, gamma2)[0] != _decomposed(before, gamma2)[0]:
            yield place


def _h(data: bytes, size: int) -> bytes:
    return hashlib.shake_256(data).digest(size)


def _sampled(rho: bytes, row: int, column: int) -> Polynomial:
    """Algorithm 30, RejNTTPoly; 1344 bytes hold 448 candidates, of which one in 1024 is none."""
    stream = hashlib.shake_128(rho + bytes([column, row])).digest(1344)
    found = (
        int.from_bytes(stream[at : at + 3], "little") & 0x7FFFFF for at in range(0, len(stream), 3)
    )
    return [each for each in found if each < Q][:N]


def _mask(seed: bytes, nonce: int, p: Parameters) -> Polynomial:
    """Algorithm 34, ExpandMask, one polynomial."""
    width = (2 * p.gamma1 - 1).bit_length()
    return _unpacked(_h(seed + nonce.to_bytes(2, "little"), 32 * width), width, p.gamma1)


def _in_ball(challenge: bytes, tau: int) -> Polynomial:
    """Algorithm 29, SampleInBall; 1024 bytes are far more than it ever rejects."""
    stream = _h(challenge, 1024)
    signs = int.from_bytes(stream[:8], "little")
    numbers = iter(stream[8:])
    c = [0] * N
    for place in range(N - tau, N):
        other = next(number for number in numbers if number <= place)
        c[place] = c[other]
        c[other] = -1 if signs >> (place + tau - N) & 1 else 1
    return c


def _power2round(number: int) -> tuple[int, int]:
    low = _centred(number % Q, 1 << D)
    return (number % Q - low) >> D, low


def _decomposed(number: int, gamma2: int) -> tuple[int, int]:
    """Algorithm 36: high and low bits."""
    number %= Q
    low = _centred(number, 2 * gamma2)
    return (0, low - 1) if number - low == Q - 1 else ((number - low) // (2 * gamma2), low)


def _centred(number: int, modulus: int = Q) -> int:
    rest = number % modulus
    return rest - modulus if rest > modulus // 2 else rest


def _norm(vector: Iterable[Polynomial]) -> int:
    return max(abs(_centred(each)) for poly in vector for each in poly)


def _sum(one: Polynomial, other: Polynomial, sign: int = 1) -> Polynomial:
    return [(a + sign * b) % Q for a, b in zip(one, other, strict=True)]


def _product(one_hat: Polynomial, other_hat: Polynomial) -> Polynomial:
    return _inverse([a * b % Q for a, b in zip(one_hat, other_hat, strict=True)])


def _times(matrix: tuple[Vector, ...], vector: Vector) -> list[Polynomial]:
    """Matrix times vector, both in NTT form; the result is not."""
    found: list[Polynomial] = []
    for row in matrix:
        total = [0] * N
        for one, other in zip(row, vector, strict=True):
            total = [each + a * b for each, a, b in zip(total, one, other, strict=True)]
        found.append(_inverse(total))
    return found


_ZETAS: Final = tuple(pow(1753, int(f"{place:08b}"[::-1], 2), Q) for place in range(N))


def _ntt(poly: Polynomial) -> Polynomial:
    """Algorithm 41."""
    w, zetas, length = list(poly), iter(_ZETAS[1:]), N // 2
    while length:
        for start in range(0, N, 2 * length):
            zeta = next(zetas)
            for j in range(start, start + length):
                t = zeta * w[j + length]
                w[j], w[j + length] = (w[j] + t) % Q, (w[j] - t) % Q
        length //= 2
    return w


def _inverse(poly: Polynomial) -> Polynomial:
    """Algorithm 42."""
    w, zetas, length = list(poly), iter(_ZETAS[:0:-1]), 1
    while length < N:
        for start in range(0, N, 2 * length):
            zeta = next(zetas)
            for j in range(start, start + length):
                a, b = w[j], w[j + length]
                w[j], w[j + length] = (a + b) % Q, zeta * (b - a) % Q
        length *= 2
    return [each * 8347681 % Q for each in w]


def _packed(numbers: Iterable[int], width: int) -> bytes:
    """Algorithm 16, SimpleBitPack."""
    total = sum(number << (width * place) for place, number in enumerate(numbers))
    return total.to_bytes(N * width // 8, "little")


def _unpacked(data: bytes, width: int, top: int) -> list[int]:
    """Algorithm 19, BitUnpack: ``top`` is what stands for 0."""
    total, mask = int.from_bytes(data, "little"), (1 << width) - 1
    return [top - (total >> (width * place) & mask) for place in range(N)]
