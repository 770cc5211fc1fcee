"""What a password would cost to try: how often is hashed, and in how much memory (RFC 8018, 7292).

A container names its own price, and the library pays whatever is asked, with all else standing
still. Never opens anything: what is encrypted inside of what is encrypted stays unseen.
"""

from dataclasses import dataclass
from typing import Final

from rolesanywhere_sidecar.identities import der

# What nobody waits for: some seconds, all of a file's derivations together.
MOST_ITERATIONS: Final = 10_000_000
# Twice what OpenSSL asks for by default (N=16384, r=8). A pod of ours may have 128 MiB for all.
MOST_SCRYPT_BYTES: Final = 32 * 1024 * 1024

# Object identifiers in DER: RFC 7914, section 7; RFC 7292, section 4 and appendix D; RFC 5652.
SCRYPT: Final = bytes.fromhex("2b06010401da47040b")
_DATA: Final = bytes.fromhex("2a864886f70d010701")
_ENCRYPTED_DATA: Final = bytes.fromhex("2a864886f70d010706")
_SHROUDED_KEY: Final = bytes.fromhex("2a864886f70d010c0a0102")
_SAFE_CONTENTS: Final = bytes.fromhex("2a864886f70d010c0a0106")

# No file that we read has so many: a certificate alone is longer than 64 bytes.
_MOST_PARTS: Final = 16 * 1024
_DEEPEST: Final = 8


@dataclass(frozen=True, slots=True)
class Cost:
    """How many ``iterations``, and how many bytes for the greediest scrypt."""

    iterations: int = 0
    scrypt_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        greediest = max(self.scrypt_bytes, other.scrypt_bytes)
        return Cost(self.iterations + other.iterations, greediest)

    @property
    def problem(self) -> str:
        """Why it is too much, as the end of a sentence; empty where it is not."""
        if self.scrypt_bytes > MOST_SCRYPT_BYTES:
            asked, most = _mebibytes(self.scrypt_bytes), _mebibytes(MOST_SCRYPT_BYTES)
            return f"asks for {asked} MiB of memory (scrypt) to be opened, expected {most} at most"
        if self.iterations > MOST_ITERATIONS:
            asked, most = _short(self.iterations), _short(MOST_ITERATIONS)
            return f"asks for {asked} iterations to be opened, expected {most} at most"
        return ""


HINT: Final = "encrypt it anew, with openssl's defaults for instance (scrypt: N=16384, r=8: 16 MiB)"


def of_key(encrypted: bytes) -> Cost:
    """The cost of PKCS#8 with encryption; nothing for what is none. Never raises."""
    try:
        return _of_algorithm(der.parse(encrypted).children(1)[0])
    except (der.Malformed, IndexError):
        return Cost()  # the library finds it malformed too, before it derives anything


def of_store(pfx: bytes) -> Cost:
    """The cost of a PKCS#12 file, as far as it shows without its password.

    Raises `der.Malformed`.
    """
    try:
        safe, *mac = der.parse(der.leading(pfx)).children(3)[1:]
        total = _of_mac(mac[0]) if mac else Cost()
        for info in _parts(der.parse(der.leading(_data(safe)))):
            total += _of_content(info)
    except (IndexError, ValueError):
        raise der.Malformed("not PKCS#12") from None
    return total


def _of_mac(mac: der.Element) -> Cost:
    """MacData: digest with its algorithm, salt, iterations."""
    digest, _, *iterations = mac.children(3)
    how_often = iterations[0].number() if iterations else 1  # the DEFAULT
    return Cost(iterations=how_often) + _of_algorithm(digest.children(1)[0])


def _of_content(info: der.Element) -> Cost:
    kind, content = info.children(2)
    if kind.content == _DATA:
        return _of_bags(der.parse(der.leading(_data(info))), depth=0)
    if kind.content == _ENCRYPTED_DATA:
        _, encrypted = content.children(1)[0].children(2)
        return _of_algorithm(encrypted.children(2)[1])
    return Cost()


def _of_bags(bags: der.Element, *, depth: int) -> Cost:
    if depth > _DEEPEST:
        raise der.Malformed("too deep")
    total = Cost()
    for bag in _parts(bags):
        kind, value = bag.children(2)
        if kind.content == _SHROUDED_KEY:
            total += _of_algorithm(value.children(1)[0].children(1)[0])
        elif kind.content == _SAFE_CONTENTS:
            total += _of_bags(value.children(1)[0], depth=depth + 1)
    return total


def _of_algorithm(algorithm: der.Element) -> Cost:
    """What an AlgorithmIdentifier derives: by itself (PBES1), or with its first parameter."""
    if algorithm.tag != der.SEQUENCE:
        return Cost()
    kind, *parameters = algorithm.children(2)
    inner = parameters[0].children(5) if parameters and parameters[0].tag == der.SEQUENCE else ()
    if inner and inner[0].tag == der.SEQUENCE:
        return _of_algorithm(inner[0])
    numbers = [max(0, each.number()) for each in inner if each.tag == der.INTEGER]
    if kind.content == SCRYPT and len(numbers) >= 3:
        cost, block, parallel = numbers[:3]
        return Cost(scrypt_bytes=128 * cost * block * parallel)
    return Cost(iterations=numbers[0] if numbers else 0)


def _data(info: der.Element) -> bytes:
    return info.children(2)[1].children(1)[0].octets()


def _parts(element: der.Element) -> tuple[der.Element, ...]:
    parts = element.children(_MOST_PARTS)
    if len(parts) == _MOST_PARTS:
        raise der.Malformed("too many parts")
    return parts


def _mebibytes(count: int) -> str:
    return _short(-(-count // 1024**2))


def _short(number: int) -> str:
    """Somebody may write a number of thousands of digits."""
    return str(number) if number < 10**12 else "far too many"
