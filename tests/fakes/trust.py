"""Is this certificate good, and does it lead to the trust anchor? (pure)

Path validation after RFC 5280 section 6, as far as "The IAM Roles Anywhere trust model" asks for
it: names, signatures, validity of every certificate, CA and keyCertSign of every issuer, path
length, SHA-256 or stronger. It knows nothing of requests, and checks no revocation.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import SignatureAlgorithmOID

# "The signing algorithm MUST include SHA256 or stronger. MD5 and SHA1 are rejected."
STRONG_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})

# ML-DSA names no hash: SHAKE256 is part of it (FIPS 204), and the service has taken such
# certificates since it took such keys.
MLDSA: Final = frozenset(
    {
        SignatureAlgorithmOID.ML_DSA_44,
        SignatureAlgorithmOID.ML_DSA_65,
        SignatureAlgorithmOID.ML_DSA_87,
    }
)

# Bounds the search; real hierarchies have one or two authorities below the root.
MAX_ISSUERS: Final = 5

_UNREADABLE: Final = (
    binascii.Error,
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)

Extension = TypeVar("Extension", bound=x509.ExtensionType)


class Untrusted(Exception):
    """Why a certificate is refused, in one sentence."""


@dataclass(frozen=True, slots=True)
class _Step:
    """How far a path has come: its last certificate, and the authorities below that one."""

    certificate: x509.Certificate
    below: tuple[x509.Certificate, ...] = ()


def read_header(text: str) -> x509.Certificate:
    """One certificate as headers carry it: standard base64 of DER. Raises ``Untrusted``."""
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(text, validate=True))
        # The library parses these only when asked.
        _ = (certificate.extensions, certificate.subject, certificate.public_key())
    except _UNREADABLE:
        raise Untrusted("The header does not hold one DER certificate in base64") from None
    return certificate


def check_leaf(leaf: x509.Certificate, now: datetime) -> None:
    """What the trust model demands of an end-entity certificate. Raises ``Untrusted``."""
    _check_basics(leaf, now)
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is None or constraints.ca:
        raise Untrusted("The certificate's basic constraints must say CA:false")
    usage = _extension(leaf, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        raise Untrusted("The certificate's key usage must include digitalSignature")


def check_path(
    leaf: x509.Certificate,
    anchors: Sequence[x509.Certificate],
    intermediates: Sequence[x509.Certificate],
    now: datetime,
) -> None:
    """Raises ``Untrusted`` unless some path through ``intermediates`` ends at an anchor."""
    waiting = [_Step(leaf)]
    while waiting:
        step = waiting.pop()
        if any(_issued(anchor, step, now) for anchor in anchors):
            return
        if len(step.below) < MAX_ISSUERS:
            waiting.extend(_next_steps(step, intermediates, now))
    raise Untrusted("No chain of valid certificates leads to the trust anchor")


def _next_steps(
    step: _Step, intermediates: Sequence[x509.Certificate], now: datetime
) -> Iterator[_Step]:
    for candidate in intermediates:
        if candidate not in step.below and _issued(candidate, step, now):
            yield _Step(candidate, (*step.below, candidate))


def _issued(issuer: x509.Certificate, step: _Step, now: datetime) -> bool:
    """May ``issuer`` have signed the last certificate of ``step``, and did it?"""
    try:
        _check_basics(issuer, now)
        _check_issuer(issuer, authorities_below=len(step.below))
        step.certificate.verify_directly_issued_by(issuer)
    except (Untrusted, InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _check_basics(certificate: x509.Certificate, now: datetime) -> None:
    if certificate.version is not x509.Version.v3:
        raise Untrusted("The certificate must be X.509 version 3")
    if not _is_strong(certificate):
        raise Untrusted("The certificate must be signed with SHA-256 or stronger")
    if now < certificate.not_valid_before_utc:
        raise Untrusted("The certificate is not valid yet")
    if now > certificate.not_valid_after_utc:
        raise Untrusted("The certificate has expired")


def _is_strong(certificate: x509.Certificate) -> bool:
    if certificate.signature_algorithm_oid in MLDSA:
        return True
    return _hash_name(certificate) in STRONG_HASHES


def _hash_name(certificate: x509.Certificate) -> str:
    """The hash its issuer signed it with; empty for algorithms without one or unknown."""
    try:
        digest = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ""
    return digest.name if digest else ""


def _check_issuer(issuer: x509.Certificate, *, authorities_below: int) -> None:
    constraints = _extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise Untrusted("The issuer is not an authority")
    if constraints.path_length is not None and constraints.path_length < authorities_below:
        raise Untrusted("The issuer allows fewer authorities below it")
    usage = _extension(issuer, x509.KeyUsage)
    if usage is None or not usage.key_cert_sign:
        raise Untrusted("The issuer's key usage must include keyCertSign")


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
