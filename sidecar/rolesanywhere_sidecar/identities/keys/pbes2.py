"""Decrypts PKCS#8 with a password, where we need the bytes rather than the key (RFC 8018).

``cryptography`` opens most encrypted keys itself; what it finds in there but does not know, an
ML-DSA key with both its halves, must be taken out for it. PBES2 with AES-CBC alone.
"""

from collections.abc import Callable, Mapping
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

from rolesanywhere_sidecar.identities import der

# Object identifiers, as DER writes them: RFC 8018, appendix A and B, and RFC 7914, section 7.
_PBES2: Final = bytes.fromhex("2a864886f70d01050d")
_PBKDF2: Final = bytes.fromhex("2a864886f70d01050c")
_SCRYPT: Final = bytes.fromhex("2b06010401da47040b")
_AES_CBC_BYTES: Final[Mapping[bytes, int]] = {
    bytes.fromhex("608648016503040102"): 16,
    bytes.fromhex("608648016503040116"): 24,
    bytes.fromhex("60864801650304012a"): 32,
}
_HMAC: Final[Mapping[bytes, Callable[[], hashes.HashAlgorithm]]] = {
    bytes.fromhex("2a864886f70d0207"): hashes.SHA1,
    bytes.fromhex("2a864886f70d0208"): hashes.SHA224,
    bytes.fromhex("2a864886f70d0209"): hashes.SHA256,
    bytes.fromhex("2a864886f70d020a"): hashes.SHA384,
    bytes.fromhex("2a864886f70d020b"): hashes.SHA512,
}

# What nobody waits for, or what no pod has memory for, is no key of ours.
MOST_ITERATIONS: Final = 10_000_000
MOST_SCRYPT_BYTES: Final = 256 * 1024 * 1024


def decrypt(encrypted: bytes, password: bytes) -> bytes | None:
    """The PKCS#8 in ``encrypted`` (DER); None for the wrong password, or for another scheme.

    Raises `der.Malformed`.
    """
    scheme, data = _pair(der.parse(encrypted))
    parameters = _parameters(scheme, _PBES2)
    if parameters is None:
        return None
    derivation, cipher = _pair(parameters)
    length = _AES_CBC_BYTES.get(_pair(cipher)[0].content)
    derive = None if length is None else _derivation(derivation, length)
    initial = _pair(cipher)[1].octets()
    if derive is None or len(initial) != 16:
        return None
    return _unpadded(derive(password), initial, data.octets())


def is_plain(data: bytes) -> bool:
    """Whether ``data`` is PKCS#8 without encryption, and not what a wrong password makes."""
    try:
        children = der.parse(data).children()
    except der.Malformed:
        return False
    tags = [child.tag for child in children[:3]]
    return tags == [der.INTEGER, der.SEQUENCE, der.OCTET_STRING]


def is_affordable(encrypted: bytes) -> bool:
    """Whether deriving the key of ``encrypted`` ends in reasonable time and memory."""
    try:
        parameters = _parameters(_pair(der.parse(encrypted))[0], _PBES2)
        if parameters is None:
            return True
        derivation = _pair(parameters)[0]
        numbers = [each for each in _pair(derivation)[1].children() if each.tag == der.INTEGER]
        if _pair(derivation)[0].content == _SCRYPT:
            cost, block, parallel = (each.number() for each in numbers[:3])
            return 128 * cost * block * parallel <= MOST_SCRYPT_BYTES
        return numbers[0].number() <= MOST_ITERATIONS
    except (der.Malformed, ValueError, IndexError):
        return True  # the library finds it malformed too, before it derives anything


def _pair(element: der.Element) -> tuple[der.Element, der.Element]:
    children = element.children() if element.tag == der.SEQUENCE else ()
    if len(children) != 2:
        raise der.Malformed("not a pair")
    return children[0], children[1]


def _parameters(algorithm: der.Element, wanted: bytes) -> der.Element | None:
    children = algorithm.children()
    if len(children) != 2 or children[0] != der.Element(der.OBJECT_IDENTIFIER, wanted):
        return None
    return children[1]


def _derivation(element: der.Element, length: int) -> Callable[[bytes], bytes] | None:
    if (parameters := _parameters(element, _SCRYPT)) is not None:
        salt, cost, block, parallel, *_ = (*parameters.children(), *[_NOTHING] * 4)
        return Scrypt(
            salt=salt.octets(),
            length=length,
            n=cost.number(),
            r=block.number(),
            p=parallel.number(),
        ).derive
    if (parameters := _parameters(element, _PBKDF2)) is None:
        return None
    salt, iterations, *rest = (*parameters.children(), *[_NOTHING] * 2)
    functions = [each.children()[0].content for each in rest if each.tag == der.SEQUENCE]
    make = _HMAC.get(functions[0]) if functions else hashes.SHA1  # the DEFAULT
    if make is None:
        return None
    return PBKDF2HMAC(
        make(), length=length, salt=salt.octets(), iterations=iterations.number()
    ).derive


# In the place of what is missing: no method of it gives a value.
_NOTHING: Final = der.Element(0, b"")


def _unpadded(key: bytes, initial: bytes, data: bytes) -> bytes | None:
    decryptor = Cipher(algorithms.AES(key), modes.CBC(initial)).decryptor()
    remover = PKCS7(128).unpadder()
    try:
        padded = decryptor.update(data) + decryptor.finalize()
        return remover.update(padded) + remover.finalize()
    except ValueError:
        return None
