"""The keys of one test cluster: a certificate authority, its server, and the token signer.

Made for one run and thrown away with it; nothing here is fit to protect anything else.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# A test run is minutes long; the slack before covers clocks that are set back meanwhile.
_SLACK = timedelta(hours=1)
_LIFE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Where the keys lie; every private key has mode 0600."""

    ca: Path
    server_certificate: Path
    server_key: Path
    service_account_key: Path
    kubelet_client_certificate: Path
    kubelet_client_key: Path


def write_keys(folder: Path, *, now: datetime, addresses: Sequence[str] = ()) -> KeyFiles:
    """Fresh keys in ``folder``; the server is good for localhost, 127.0.0.1 and ``addresses``."""
    files = KeyFiles(
        ca=folder / "ca.crt",
        server_certificate=folder / "server.crt",
        server_key=folder / "server.key",
        service_account_key=folder / "service-account.key",
        kubelet_client_certificate=folder / "kubelet-client.crt",
        kubelet_client_key=folder / "kubelet-client.key",
    )
    ca_key, server_key, signer, caller = (ec.generate_private_key(ec.SECP256R1()) for _ in range(4))
    ca = _authority(ca_key, now)
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    server = _server_certificate(server_key.public_key(), ca, ca_key, now, addresses)
    files.server_certificate.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    client = _client_certificate(caller.public_key(), ca, ca_key, now)
    files.kubelet_client_certificate.write_bytes(client.public_bytes(serialization.Encoding.PEM))
    _write_key(files.kubelet_client_key, caller)
    _write_key(files.server_key, server_key)
    _write_key(files.service_account_key, signer)
    return files


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = _name("test cluster")
    return (
        _certificate(name, name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _server_certificate(
    key: ec.EllipticCurvePublicKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    addresses: Sequence[str],
) -> x509.Certificate:
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    names += [x509.IPAddress(ipaddress.ip_address(one)) for one in ("127.0.0.1", *addresses)]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _certificate(_name("kube-apiserver"), ca.subject, key, now)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer, critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _client_certificate(
    key: ec.EllipticCurvePublicKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    """What an API server shows a kubelet, which asks the API server what its bearer may do."""
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
            x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver-kubelet-client"),
        ]
    )
    return (
        _certificate(subject, ca.subject, key, now)
        .add_extension(issuer, critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.OID_CLIENT_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + _LIFE)
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


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
