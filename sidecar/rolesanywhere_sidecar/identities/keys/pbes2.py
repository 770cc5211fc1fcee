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
from rolesanywhere_sidecar.identities.keys.costs import SCRYPT

# Object identifiers, as DER writes them: RFC 8018, appendix A and B.
_PBES2: Final = bytes.fromhex("2a864886f70d01050d")
_PBKDF2: Final = bytes.fromhex("2a864886f70d01050c")
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
        children = der.parse(data).children(3)
    except der.Malformed:
        return False
    tags = [child.tag for child in children]
    return tags == [der.INTEGER, der.SEQUENCE, der.OCTET_STRING]


def _pair(element: der.Element) -> tuple[der.Element, der.Element]:
    children = element.children(3) if element.tag == der.SEQUENCE else ()
    if len(children) != 2:
        raise der.Malformed("not a pair")
    return children[0], children[1]


def _parameters(algorithm: der.Element, wanted: bytes) -> der.Element | None:
    children = algorithm.children(3)
    if len(children) != 2 or children[0] != der.Element(der.OBJECT_IDENTIFIER, wanted):
        return None
    return children[1]


def _derivation(element: der.Element, length: int) -> Callable[[bytes], bytes] | None:
    if (parameters := _parameters(element, SCRYPT)) is not None:
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
