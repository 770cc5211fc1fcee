"""An X.509 identity: which certificate is ours, what chains it up, and whether it can serve.

The service asks of an end-entity certificate: X.509 version 3, CA:false, a key usage with
digitalSignature, a signature with SHA-256 or stronger, and that it is valid now (IAM Roles Anywhere
user guide, "Trust model"). What it certainly refuses is refused here, with the reason; what it may
refuse is a warning. Never reads a file or a clock, never sees a private key.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rolesanywhere_contract.errors import RolesAnywhereError

PublicKey = RSAPublicKey | EllipticCurvePublicKey

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

# A fresh certificate starts now by its issuer's clock, and the service goes by its own: ours may be
# behind by what SigV4 tolerates anyway before "not yet valid" is worth saying.
CLOCK_TOLERANCE: Final = timedelta(minutes=5)


class InvalidIdentity(RolesAnywhereError):
    """The certificate cannot be an identity for Roles Anywhere, whatever the time."""

    code = "InvalidIdentity"


class KeyMismatch(RolesAnywhereError):
    """No certificate at hand belongs to the private key; in mid-rotation that passes."""

    code = "KeyMismatch"


class CertificateExpired(RolesAnywhereError):
    """The leaf certificate's time is over."""

    code = "CertificateExpired"


class CertificateNotYetValid(RolesAnywhereError):
    """The leaf certificate's time is still to come."""

    code = "CertificateNotYetValid"
    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A leaf and the intermediates above it, in order; ``unrelated`` counts what was left out."""

    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    unrelated: int
    where: str

    @property
    def serial(self) -> int:
        """The leaf's serial number, which names the identity in a credential scope."""
        return self.leaf.serial_number

    @property
    def subject(self) -> str:
        """The leaf's subject in RFC 4514 notation; it may be empty."""
        return self.leaf.subject.rfc4514_string()

    @property
    def not_before(self) -> datetime:
        """When the leaf begins to be valid, aware and in UTC."""
        return self.leaf.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """When the leaf ends to be valid, aware and in UTC."""
        return self.leaf.not_valid_after_utc

    def __str__(self) -> str:
        return f"certificate {self.subject!r} (serial {self.serial:x}) in {self.where}"


def read_certificates(pem: bytes, *, where: str) -> tuple[x509.Certificate, ...]:
    """Every certificate in ``pem``, in order; keys and text between them do not matter.

    Raises `InvalidIdentity` when there is none or one is damaged.
    """
    if _BEGIN not in pem:
        raise InvalidIdentity(
            f"{where} holds no PEM certificate",
            hint="expected -----BEGIN CERTIFICATE-----; convert DER or PKCS#12 with openssl",
        )
    try:
        found = tuple(x509.load_pem_x509_certificates(pem))
        for certificate in found:  # parsed lazily: what is damaged shall show here
            _ = (certificate.subject, certificate.issuer, certificate.version)
    except (ValueError, x509.InvalidVersion):
        found = ()
    # A certificate without its END line is none to the parser: a file that is still being written
    # would lose its intermediates without a word.
    if len(found) < pem.count(_BEGIN):
        raise InvalidIdentity(
            f"{where} holds a certificate that cannot be read",
            hint="each must be complete, from its BEGIN line to its END line",
        )
    return found


def assemble(
    certificates: Sequence[x509.Certificate], *, public_key: PublicKey, where: str
) -> Identity:
    """The identity that ``public_key`` has among ``certificates``.

    The leaf is the first that holds the key; all that lead up from it are its chain, in order from
    leaf to root and once each. Raises `KeyMismatch` when no certificate holds the key.
    """
    wanted = _key_bytes(public_key)
    leaf = next((held for held in certificates if _key_of(held) == wanted), None)
    if leaf is None:
        first = certificates[0]
        raise KeyMismatch(
            f"the private key does not belong to certificate {first.subject.rfc4514_string()!r}"
            f" (serial {first.serial_number:x}) in {where}",
            hint="expected the key that this certificate was issued for",
        )
    others = [held for held in dict.fromkeys(certificates) if held != leaf]
    path = tuple(_ancestors(leaf, others))
    return Identity(
        leaf=leaf,
        # A self-signed certificate is left out: either it is the trust anchor, which the service
        # has, or no path to the anchor leads through it, since it names no issuer but itself.
        chain=tuple(held for held in path if not _self_signed(held)),
        unrelated=len(others) - len(path),
        where=where,
    )


def check(identity: Identity, *, at: datetime) -> None:
    """Returns if nothing is known for which the service would certainly refuse ``identity``.

    Raises `CertificateExpired`, `CertificateNotYetValid` or `InvalidIdentity`. ``at`` is aware.
    """
    if at >= identity.not_after:
        raise CertificateExpired(
            f"{identity} expired at {_show(identity.not_after)}, and it is {_show(at)}",
            hint="renew the certificate; its issuer or cert-manager should have",
        )
    if at < identity.not_before - CLOCK_TOLERANCE:
        raise CertificateNotYetValid(
            f"{identity} is valid from {_show(identity.not_before)}, and it is {_show(at)}",
            hint="wait, or set this machine's clock",
        )
    if flaw := next(_flaws(identity.leaf), None):
        raise InvalidIdentity(
            f"{identity} {flaw}, and Roles Anywhere refuses such an identity",
            hint="issue an end-entity certificate for signing",
        )


def warnings(identity: Identity, *, at: datetime) -> tuple[str, ...]:
    """What may become a refusal, a sentence each; nothing here stops a session."""
    found: list[str] = []
    if _extension(identity.leaf, x509.BasicConstraints) is None:
        found.append(
            f"{identity} has no readable basic constraints, but Roles Anywhere expects CA:false"
        )
    if _extension(identity.leaf, x509.KeyUsage) is None:
        found.append(
            f"{identity} has no readable key usage, but Roles Anywhere expects digitalSignature"
        )
    if identity.unrelated:
        found.append(
            f"{identity.unrelated} certificate(s) beside {identity} do not lead up from it"
            " and are not sent"
        )
    found += [
        f"intermediate {held.subject.rfc4514_string()!r} of {identity} is not valid now: its"
        f" time is {_show(held.not_valid_before_utc)} to {_show(held.not_valid_after_utc)}"
        for held in identity.chain
        if not held.not_valid_before_utc - CLOCK_TOLERANCE <= at < held.not_valid_after_utc
    ]
    return tuple(found)


def _flaws(leaf: x509.Certificate) -> Iterator[str]:
    if leaf.version is not x509.Version.v3:
        yield "is not an X.509 version 3 certificate"
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        yield "is a CA certificate (CA:true)"
    usage = _extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        yield "lacks digitalSignature in its key usage"
    if weak := _weak_hash(leaf):
        yield f"is signed with {weak}"


def _weak_hash(certificate: x509.Certificate) -> str | None:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None  # unknown to us is not known to be weak
    weak = isinstance(algorithm, hashes.MD5 | hashes.SHA1)
    return algorithm.name.upper() if algorithm is not None and weak else None


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """None also where extensions cannot be read: the service may be less strict than we are."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None


def _ancestors(
    leaf: x509.Certificate, others: Sequence[x509.Certificate]
) -> Iterator[x509.Certificate]:
    """Level by level, so that both of two cross-signed intermediates come along."""
    level, left = [leaf], list(others)
    while level:
        issuers = [held for held in left if any(_issued(held, below) for below in level)]
        yield from issuers
        left = [held for held in left if held not in issuers]
        level = issuers


def _issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    except UnsupportedAlgorithm:
        return issuer.subject == subject.issuer
    return True


def _self_signed(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer and _issued(certificate, certificate)


def _key_bytes(public_key: PublicKey) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key_of(certificate: x509.Certificate) -> bytes | None:
    """None for a kind of key that cannot be ours."""
    try:
        public_key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return None
    return _key_bytes(public_key) if isinstance(public_key, PublicKey) else None


def _show(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ")
