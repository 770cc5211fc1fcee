"""Serving certificates for tests: self-signed, for 127.0.0.1, thrown away with the test."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, both as PEM; the certificate is also its own CA bundle."""

    name: str
    certificate: bytes
    private_key: bytes


def a_pair(
    name: str, *, key: PrivateKey | None = None, starts_in: timedelta = -timedelta(hours=1)
) -> Pair:
    """A pair whose common name is ``name``, for a day; P-256 unless ``key`` is given."""
    return _pair(name, key or ec.generate_private_key(ec.SECP256R1()), starts_in)


def for_clients_only() -> Pair:
    """A pair whose extended key usage leaves servers out."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return _pair("client", key, -timedelta(hours=1), usage)


def _pair(
    name: str, key: PrivateKey, starts_in: timedelta, *extensions: x509.ExtensionType
) -> Pair:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts_in)
        .not_valid_after(now + starts_in + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    return Pair(
        name,
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def an_rsa_key() -> rsa.RSAPrivateKey:
    """A key of another type than the usual one."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
