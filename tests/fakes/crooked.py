"""Certificates that the library refuses to make: version 1, and signed with SHA-1.

A certificate is taken apart (DER, X.690), changed, and signed anew, so that a verifier can be
shown the real thing. Used to prove refusals, never to issue anything that is to be accepted.
"""

from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

_SEQUENCE = 0x30
_BIT_STRING = 0x03
_VERSION = 0xA0  # [0] EXPLICIT, RFC 5280 section 4.1
_EXTENSIONS = 0xA3  # [3] EXPLICIT
_NULL = b"\x05\x00"
_SHA1_WITH_RSA = b"\x06\x09" + bytes.fromhex("2a864886f70d010105")  # 1.2.840.113549.1.1.5
_SHA256_WITH_RSA = b"\x06\x09" + bytes.fromhex("2a864886f70d01010b")  # 1.2.840.113549.1.1.11


def version_1(certificate: x509.Certificate, issuer_key: RSAPrivateKey) -> x509.Certificate:
    """The same certificate without version and extensions, as before 1996."""
    fields = [part for part in _fields(certificate) if part[0] not in (_VERSION, _EXTENSIONS)]
    return _signed(fields, _SHA256_WITH_RSA, issuer_key, hashes.SHA256())


def signed_with_sha1(certificate: x509.Certificate, issuer_key: RSAPrivateKey) -> x509.Certificate:
    """The same certificate, signed with ``sha1WithRSAEncryption``."""
    fields = list(_fields(certificate))
    fields[2] = _tlv(_SEQUENCE, _SHA1_WITH_RSA + _NULL)  # version, serialNumber, signature, ...
    return _signed(fields, _SHA1_WITH_RSA, issuer_key, hashes.SHA1())  # noqa: S303 - meant


def _signed(
    fields: list[bytes], algorithm: bytes, key: RSAPrivateKey, digest: hashes.HashAlgorithm
) -> x509.Certificate:
    content = _tlv(_SEQUENCE, b"".join(fields))
    signature = key.sign(content, padding.PKCS1v15(), digest)
    whole = content + _tlv(_SEQUENCE, algorithm + _NULL) + _tlv(_BIT_STRING, b"\x00" + signature)
    return x509.load_der_x509_certificate(_tlv(_SEQUENCE, whole))


def _fields(certificate: x509.Certificate) -> Iterator[bytes]:
    """The parts of TBSCertificate, each with its tag and length."""
    whole = next(_split(certificate.public_bytes(Encoding.DER)))[1]
    content = next(_split(whole))[1]
    for element, _ in _split(content):
        yield element


def _split(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each DER element in ``data``: as a whole, and its content."""
    at = 0
    while at < len(data):
        size, header = data[at + 1], 2
        if size & 0x80:
            header += size & 0x7F
            size = int.from_bytes(data[at + 2 : at + header])
        yield data[at : at + header + size], data[at + header : at + header + size]
        at += header + size


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content
