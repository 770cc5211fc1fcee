"""A certificate authority for tests and the demo: every property of a certificate is a knob.

It issues what it is told, also what no decent authority would (``crooked`` makes what even the
library refuses). It never reads a clock: ``at`` comes in by argument.
"""

import base64
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.fakes import mldsa as fips204

MldsaKey: TypeAlias = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | MldsaKey
KeyKind: TypeAlias = Literal[
    "rsa-2048", "rsa-3072", "p256", "p384", "p521", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"
]
KeyForm: TypeAlias = Literal["pkcs1", "pkcs8", "sec1", "seed", "expanded", "both"]

_MAKERS: Final[Mapping[KeyKind, Callable[[], PrivateKey]]] = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate,
}

_MLDSA_KINDS: Final[Mapping[KeyKind, type[MldsaKey]]] = {
    "ml-dsa-44": mldsa.MLDSA44PrivateKey,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey,
}

# What PEM calls PKCS#1 (RFC 8017) and SEC1 (RFC 5915) is OpenSSL's "traditional" form: one for
# RSA keys, the other for EC keys.
_FORMATS: Final[Mapping[KeyForm, PrivateFormat]] = {
    "pkcs1": PrivateFormat.TraditionalOpenSSL,
    "sec1": PrivateFormat.TraditionalOpenSSL,
    "pkcs8": PrivateFormat.PKCS8,
}

_USAGES: Final = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


class HasPublicKey(Protocol):
    """All of a key that an issuer asks for: its private half may be out of reach."""

    def public_key(self) -> Any: ...


def new_key(kind: KeyKind) -> PrivateKey:
    """A fresh private key."""
    return _MAKERS[kind]()


def named(common_name: str, **others: str) -> x509.Name:
    """A distinguished name, e.g. ``named("web", organization_name="Example")``."""
    parts = [*others.items(), ("common_name", common_name)]
    return x509.Name([x509.NameAttribute(getattr(NameOID, k.upper()), v) for k, v in parts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Everything a certificate says but for its name and key; ``None`` leaves an extension out.

    ``starts`` is counted from ``at`` and ``lives`` from the start. ``subject`` and ``issuer``
    replace the names that the authority would write. ``serial`` is random unless given.
    """

    starts: timedelta = timedelta(hours=-1)
    lives: timedelta = timedelta(days=7)
    ca: bool | None = False
    path_length: int | None = None
    usage: frozenset[str] | None = frozenset({"digital_signature"})
    extended: tuple[x509.ObjectIdentifier, ...] = ()
    hash: hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512 = field(
        default_factory=hashes.SHA256
    )
    subject: x509.Name | None = None
    issuer: x509.Name | None = None
    serial: int | None = None
    names: tuple[x509.GeneralName, ...] = ()


LEAF: Final = Template()
AUTHORITY: Final = Template(
    lives=timedelta(days=3650), ca=True, usage=frozenset({"key_cert_sign", "crl_sign"})
)
SERVER: Final = Template(extended=(ExtendedKeyUsageOID.SERVER_AUTH,))


def issue(
    template: Template,
    name: x509.Name,
    key: HasPublicKey,
    *,
    issuer: x509.Name,
    signer: PrivateKey,
    at: datetime,
) -> x509.Certificate:
    """The certificate that ``template`` describes, for ``key``, signed with ``signer``."""
    start = (at + template.starts).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject or name)
        .issuer_name(template.issuer or issuer)
        .public_key(key.public_key())
        .serial_number(template.serial or x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + template.lives)
    )
    for extension, critical in _extensions(template):
        builder = builder.add_extension(extension, critical)
    # ML-DSA hashes what it signs itself (RFC 9881, section 3).
    return builder.sign(signer, None if isinstance(signer, MldsaKey) else template.hash)


def _extensions(template: Template) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    if template.ca is not None:
        found.append((x509.BasicConstraints(template.ca, template.path_length), True))
    if template.usage is not None:
        found.append((x509.KeyUsage(*(word in template.usage for word in _USAGES)), True))
    if template.extended:
        found.append((x509.ExtendedKeyUsage(template.extended), False))
    if template.names:
        found.append((x509.SubjectAlternativeName(template.names), False))
    return found


@dataclass(frozen=True, slots=True)
class Identity:
    """A key, its certificate, and the intermediates between it and a root (nearest first)."""

    key: PrivateKey = field(repr=False)
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        return b"".join(each.public_bytes(Encoding.PEM) for each in self.chain)

    def key_pem(self, form: KeyForm = "pkcs8") -> bytes:
        """The private key, unencrypted; ``pkcs1`` fits RSA keys alone, ``sec1`` EC keys, and
        ``seed``, ``expanded`` and ``both`` fit ML-DSA keys."""
        if isinstance(self.key, MldsaKey):
            return _mldsa_pem(self.key, "seed" if form == "pkcs8" else form)
        if form != "pkcs8" and (form == "pkcs1") != isinstance(self.key, rsa.RSAPrivateKey):
            raise ValueError(f"a {type(self.key).__name__} has no {form} form")
        return self.key.private_bytes(Encoding.PEM, _FORMATS[form], NoEncryption())

    def key_der(self, form: KeyForm = "pkcs8") -> bytes:
        """What ``key_pem`` has between its lines."""
        return base64.b64decode(b"".join(self.key_pem(form).splitlines()[1:-1]))


@dataclass(frozen=True, slots=True)
class Authority(Identity):
    """An identity that issues others; its ``chain`` is empty for a root."""

    @classmethod
    def root(
        cls,
        name: str = "Test Root",
        *,
        at: datetime,
        kind: KeyKind = "p256",
        template: Template = AUTHORITY,
    ) -> "Authority":
        """A self-signed authority."""
        key, subject = new_key(kind), named(name)
        return cls(key, issue(template, subject, key, issuer=subject, signer=key, at=at))

    def intermediate(
        self,
        name: str = "Test Intermediate",
        *,
        at: datetime,
        kind: KeyKind = "p256",
        template: Template = AUTHORITY,
    ) -> "Authority":
        """An authority below this one."""
        below = self._issued(named(name), new_key(kind), template, at)
        return Authority(below.key, below.certificate, below.chain)

    def leaf(
        self,
        name: str = "workload",
        *,
        at: datetime,
        kind: KeyKind = "p256",
        key: PrivateKey | None = None,
        template: Template = LEAF,
    ) -> Identity:
        """An end-entity identity, with a new key of ``kind`` unless ``key`` is given."""
        return self._issued(named(name), key or new_key(kind), template, at)

    def server(
        self, *, at: datetime, hosts: Sequence[str] = ("127.0.0.1", "localhost")
    ) -> Identity:
        """A TLS server identity for addresses and names of this machine."""
        names = tuple(_general_name(host) for host in hosts)
        return self.leaf(hosts[0], at=at, template=replace(SERVER, names=names))

    def _issued(
        self, name: x509.Name, key: PrivateKey, template: Template, at: datetime
    ) -> Identity:
        mine = self.certificate
        fresh = issue(template, name, key, issuer=mine.subject, signer=self.key, at=at)
        return Identity(key, fresh, () if mine.issuer == mine.subject else (mine, *self.chain))


def kind_of(key: MldsaKey) -> KeyKind:
    """Which of the three sizes ``key`` is of."""
    return next(kind for kind, made in _MLDSA_KINDS.items() if isinstance(key, made))


def _mldsa_pem(key: MldsaKey, form: KeyForm) -> bytes:
    if form not in ("seed", "expanded", "both"):
        raise ValueError(f"an ML-DSA key has no {form} form")
    der = fips204.pkcs8(key.private_bytes_raw(), kind_of(key), form)
    lines = base64.encodebytes(der)
    return b"-----BEGIN PRIVATE KEY-----\n" + lines + b"-----END PRIVATE KEY-----\n"


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
