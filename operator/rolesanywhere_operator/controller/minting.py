"""Certificates in and out: X.509 as `authorities` reasons about it, and new ones of our making.

Keys are ECDSA P-256. What cannot be read counts as absent. Never decides what is made when, and
never tells anybody a key.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rolesanywhere_operator.domain.authorities import (
    AUTHORITY_LIFE,
    BACKDATED,
    Certificate,
    Leaf,
)

# By this subject ours are known among what else a configuration may trust.
AUTHORITY_NAME: Final = "rolesanywhere webhook authority"

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, and its key as PEM (PKCS#8)."""

    certificate: Certificate
    private_key: str = field(repr=False)


def new_authority(*, now: datetime) -> Pair:
    """An authority that may sign leaves and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY_NAME)])
    certificate = (
        _builder(key.public_key(), starts=now - BACKDATED, ends=now + AUTHORITY_LIFE)
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(_described(certificate), _pem(key))


def new_leaf(authority: Pair, *, hosts: Iterable[str], now: datetime, ends: datetime) -> Pair:
    """A serving certificate for ``hosts``, which are DNS names and IP addresses."""
    signer = _private_key(authority.private_key)
    issuer = x509.load_pem_x509_certificate(authority.certificate.pem.encode())
    if signer is None:
        raise ValueError("the authority's key cannot be read")
    key = ec.generate_private_key(ec.SECP256R1())
    names = [_general_name(host) for host in sorted(hosts)]
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    certificate = (
        _builder(key.public_key(), starts=now - BACKDATED, ends=ends)
        # Names are in the SAN alone; a subject would have to be cut to 64 characters.
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(signer, hashes.SHA256())
    )
    return Pair(_described(certificate), _pem(key))


def authorities(text: str) -> tuple[Certificate, ...]:
    """Those of the PEM certificates in ``text`` that are authorities of ours."""
    return tuple(_described(one) for one in _certificates(text) if _is_ours(one))


def authority_of(known: Sequence[Certificate], private_key: str) -> Certificate | None:
    """The one of ``known`` to which ``private_key`` belongs."""
    key = _private_key(private_key)
    for one in known:
        certificate = x509.load_pem_x509_certificate(one.pem.encode())
        if key is not None and certificate.public_key() == key.public_key():
            return one
    return None


def leaf_of(text: str, private_key: str, known: Iterable[Certificate]) -> Leaf | None:
    """What a webhook makes of the two files; None where it could not serve them."""
    key = _private_key(private_key)
    try:
        leaf = next(_certificates(text))
        if key is None or leaf.public_key() != key.public_key():
            return None
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (StopIteration, *_UNREADABLE):
        return None
    hosts = frozenset(
        str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)
    )
    issuers = [one for one in known if _signed(leaf, by=one)]
    return Leaf(_described(leaf), hosts, issuers[0] if issuers else None)


def _certificates(text: str) -> Iterator[x509.Certificate]:
    """One by one, so that a broken one takes none of the others along."""
    for part in text.split(_BEGIN)[1:]:
        try:
            yield x509.load_pem_x509_certificate((_BEGIN + part).encode())
        except _UNREADABLE:
            continue


def _is_ours(certificate: x509.Certificate) -> bool:
    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        is_elliptic = isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    except _UNREADABLE:
        return False
    return limits.ca and is_elliptic and [name.value for name in names] == [AUTHORITY_NAME]


def _signed(leaf: x509.Certificate, *, by: Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(by.pem.encode()))
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _described(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _builder(
    key: ec.EllipticCurvePublicKey, *, starts: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private_key(text: str) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(text.encode(), password=None)
    except _UNREADABLE:
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
