"""X.509 certificates: read from bytes, told apart, and put above one another.

Judges nothing: what is an identity, and whether the service would take it, is `identity`'s. Never
reads a file or a clock.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.identities import der, pem

MldsaPublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
PublicKey = RSAPublicKey | EllipticCurvePublicKey | MldsaPublicKey

# RFC 7468, section 5.1, and what else OpenSSL writes: the last has its own notes after the DER.
_LABELS: Final = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")

# A sentence names no more certificates than a reader takes in.
MOST_LISTED: Final = 8


class InvalidIdentity(RolesAnywhereError):
    """The certificate cannot be an identity for Roles Anywhere, whatever the time."""

    code = "InvalidIdentity"


def read_certificates(content: bytes, *, where: str) -> tuple[x509.Certificate, ...]:
    """Every certificate in ``content``, in order; keys and text between them do not matter.

    ``content`` is PEM, or one certificate in DER. Raises `InvalidIdentity` when there is none or
    one is damaged.
    """
    if der.looks_like_one(content):
        return (_read_der(content, where=where),)
    # A certificate without its END line is no block: a file that is still being written would
    # lose its intermediates without a word.
    expected = sum(label in _LABELS for label in pem.begun(content))
    if not expected:
        raise InvalidIdentity(
            f"{where} holds no certificate",
            hint="expected -----BEGIN CERTIFICATE----- up to its END line, DER, or PKCS#12",
        )
    found = [block for block in pem.blocks(content) if block.label in _LABELS]
    if len(found) < expected:
        raise _damaged(where)
    return tuple(_read_block(block, where=where) for block in found)


def holds_certificates(content: bytes) -> bool:
    """Whether ``content`` is worth a `read_certificates`, as a key or a note is not."""
    return der.looks_like_one(content) or any(label in _LABELS for label in pem.begun(content))


def ancestors(
    leaf: x509.Certificate, others: Sequence[x509.Certificate]
) -> Iterator[x509.Certificate]:
    """Those of ``others`` that lead up from ``leaf``, nearest first.

    Level by level, so that both of two cross-signed intermediates come along.
    """
    level, left = [leaf], list(others)
    while level:
        issuers = [held for held in left if any(_issued(held, below) for below in level)]
        yield from issuers
        left = [held for held in left if held not in issuers]
        level = issuers


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether it vouches for itself, as a root does."""
    return certificate.subject == certificate.issuer and _issued(certificate, certificate)


def holds(certificate: x509.Certificate, public_key: PublicKey) -> bool:
    """Whether ``certificate`` was issued for this key."""
    held = _public_key(certificate)
    return held is not None and _key_bytes(held) == _key_bytes(public_key)


def public_keys(certificates: Sequence[x509.Certificate]) -> Sequence[PublicKey]:
    """The keys that they were issued for, once each, of the kinds that can be ours."""
    held = [key for each in certificates if (key := _public_key(each)) is not None]
    return tuple({_key_bytes(each): each for each in held}.values())


@contextmanager
def quietly() -> Iterator[None]:
    """Without what the library would write to standard error about a file that it reads anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def described(certificate: x509.Certificate) -> str:
    """A certificate by what tells it from others; the serial number is in hex, as openssl has."""
    subject = certificate.subject.rfc4514_string()
    return f"certificate {subject!r} (serial {certificate.serial_number:x})"


def listed(certificates: Sequence[x509.Certificate]) -> str:
    """Each of them `described`, unless they are too many."""
    shown = [described(held) for held in certificates[:MOST_LISTED]]
    more = len(certificates) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])])


def _read_block(block: pem.Block, *, where: str) -> x509.Certificate:
    try:
        data = block.decoded()
        if block.label == "TRUSTED CERTIFICATE":
            data = der.leading(data)
    except ValueError:
        raise _damaged(where) from None
    return _read_der(data, where=where)


def _read_der(data: bytes, *, where: str) -> x509.Certificate:
    try:
        with quietly():
            certificate = x509.load_der_x509_certificate(data)
        # Parsed lazily: what is damaged shall show here.
        _ = (certificate.subject, certificate.issuer, certificate.version)
        _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    except (ValueError, x509.InvalidVersion):
        raise _damaged(where) from None
    return certificate


def _damaged(where: str) -> InvalidIdentity:
    return InvalidIdentity(
        f"{where} holds a certificate that cannot be read",
        hint="each must be complete, from its BEGIN line to its END line, or as DER",
    )


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    except UnsupportedAlgorithm:
        return issuer.subject == subject.issuer
    return True


def _public_key(certificate: x509.Certificate) -> PublicKey | None:
    """None for a kind of key that cannot be ours."""
    try:
        held = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return None
    return held if isinstance(held, PublicKey) else None


def _key_bytes(public_key: PublicKey) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
