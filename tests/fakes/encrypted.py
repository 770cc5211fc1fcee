"""PKCS#8 encrypted with a password in every way of PBES2, also those the library only reads.

RFC 8018, appendix A.4 and B, and RFC 7914, section 7. For tests: few iterations, and a salt that
is always the same.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

Derivation: TypeAlias = Literal["scrypt", "default", "sha1", "sha224", "sha256", "sha384", "sha512"]

_SALT: Final = b"saltsalt"
_INITIAL: Final = bytes(range(16))
_AES_OIDS: Final = {128: "608648016503040102", 192: "608648016503040116", 256: "60864801650304012a"}
_HASHES: Final[Mapping[str, tuple[Callable[[], hashes.HashAlgorithm], str]]] = {
    "default": (hashes.SHA1, ""),  # as DER wants it: what is the default is left out
    "sha1": (hashes.SHA1, "2a864886f70d0207"),
    "sha224": (hashes.SHA224, "2a864886f70d0208"),
    "sha256": (hashes.SHA256, "2a864886f70d0209"),
    "sha384": (hashes.SHA384, "2a864886f70d020a"),
    "sha512": (hashes.SHA512, "2a864886f70d020b"),
}


def encrypted(
    pkcs8: bytes,
    password: bytes,
    *,
    derivation: Derivation = "sha256",
    bits: int = 256,
    rounds: int = 1024,
    claimed: int | None = None,
) -> bytes:
    """``pkcs8`` (DER) as EncryptedPrivateKeyInfo (DER).

    ``rounds`` is scrypt's N too; ``claimed`` is what is written in its place.
    """
    padder = PKCS7(128).padder()
    padded = padder.update(pkcs8) + padder.finalize()
    key, function = _derived(password, derivation, bits // 8, rounds, claimed or rounds)
    encryptor = Cipher(algorithms.AES(key), modes.CBC(_INITIAL)).encryptor()
    data = encryptor.update(padded) + encryptor.finalize()
    cipher = _sequence(_oid(_AES_OIDS[bits]), _tlv(0x04, _INITIAL))
    scheme = _sequence(_oid("2a864886f70d01050d"), _sequence(function, cipher))
    return _sequence(scheme, _tlv(0x04, data))


def _derived(
    password: bytes, how: Derivation, length: int, rounds: int, claimed: int
) -> tuple[bytes, bytes]:
    if how == "scrypt":
        key = Scrypt(salt=_SALT, length=length, n=rounds, r=8, p=1).derive(password)
        numbers = (_number(claimed), _number(8), _number(1))
        return key, _sequence(_oid("2b06010401da47040b"), _sequence(_tlv(0x04, _SALT), *numbers))
    make, oid = _HASHES[how]
    key = PBKDF2HMAC(make(), length=length, salt=_SALT, iterations=rounds).derive(password)
    function = _sequence(_oid(oid), b"\x05\x00") if oid else b""
    parameters = _sequence(_tlv(0x04, _SALT), _number(claimed), function)
    return key, _sequence(_oid("2a864886f70d01050c"), parameters)


def _oid(content: str) -> bytes:
    return _tlv(0x06, bytes.fromhex(content))


def _number(value: int) -> bytes:
    return _tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _sequence(*parts: bytes) -> bytes:
    return _tlv(0x30, b"".join(parts))


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
