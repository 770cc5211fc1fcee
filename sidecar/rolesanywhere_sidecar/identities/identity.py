"""An X.509 identity: which certificate is ours, what chains it up, and whether it can serve.

The service asks of an end-entity certificate: X.509 version 3, CA:false, a key usage with
digitalSignature, a signature with SHA-256 or stronger, and that it is valid now (IAM Roles Anywhere
user guide, "Trust model"). What it certainly refuses is refused here, with the reason; what it may
refuse is a warning. Never reads a file or a clock, never sees a private key.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.identities.certificates import (
    InvalidIdentity,
    PublicKey,
    ancestors,
    described,
    holds,
    is_self_signed,
    listed,
    read_certificates,
)

__all__ = [
    "AmbiguousCertificate",
    "CertificateExpired",
    "CertificateNotYetValid",
    "Identity",
    "InvalidIdentity",
    "KeyMismatch",
    "NoSuchCertificate",
    "PublicKey",
    "assemble",
    "check",
    "expires_soon",
    "read_certificates",
    "warnings",
]

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

# A fresh certificate starts now by its issuer's clock, and the service goes by its own: ours may be
# behind by what SigV4 tolerates anyway before "not yet valid" is worth saying.
CLOCK_TOLERANCE: Final = timedelta(minutes=5)

# Who rotates certificates does so well before this; whoever has not should be told in daylight.
EXPIRES_SOON: Final = timedelta(days=1)


class KeyMismatch(RolesAnywhereError):
    """No certificate at hand belongs to the private key; in mid-rotation that passes."""

    code = "KeyMismatch"


class NoSuchCertificate(RolesAnywhereError):
    """The selector fits none of the certificates at hand; in mid-rotation that passes."""

    code = "NoSuchCertificate"


class AmbiguousCertificate(RolesAnywhereError):
    """The selector fits several certificates of the key."""

    code = "AmbiguousCertificate"


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
        return f"{described(self.leaf)} in {self.where}"


def assemble(
    certificates: Sequence[x509.Certificate],
    *,
    public_key: PublicKey,
    where: str,
    wanted: Callable[[x509.Certificate], bool] | None = None,
    latest: bool = False,
    at: datetime | None = None,
) -> Identity:
    """The identity that ``public_key`` has among ``certificates``.

    The leaf is a certificate that holds the key and is ``wanted``. Of several, it is that valid
    ``at`` that time which ends last; but where they are wanted by name, they must be asked for as
    ``latest`` too. All that lead up from the leaf are its chain, in order from leaf to root and
    once each. Raises `NoSuchCertificate`, `AmbiguousCertificate`, or `KeyMismatch` when no
    certificate holds the key.
    """
    chosen = [held for held in dict.fromkeys(certificates) if wanted is None or wanted(held)]
    if not chosen:
        raise NoSuchCertificate(
            f"the cert selector fits none of the {len(certificates)} certificate(s) in {where}:"
            f" {listed(certificates)}",
            hint="correct the selector, or the files",
        )
    ours = [held for held in chosen if holds(held, public_key)]
    if not ours:
        raise KeyMismatch(
            f"the private key does not belong to {listed(chosen[:1])} in {where}",
            hint="expected the key that this certificate was issued for",
        )
    if wanted is not None and len(ours) > 1 and not latest:
        raise AmbiguousCertificate(
            f"the cert selector fits {len(ours)} certificates in {where}: {listed(ours)}",
            hint="narrow it down, or set --use-latest-expiring-certificate",
        )
    return _chained(_best(ours, at=at), certificates, where=where)


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
    if soon := expires_soon(identity, at=at):
        found.append(soon)
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


def expires_soon(identity: Identity, *, at: datetime) -> str | None:
    """A sentence, while less than `EXPIRES_SOON` is left of the leaf's time; None before that."""
    left = identity.not_after - at
    if left >= EXPIRES_SOON:
        return None
    minutes = max(0, int(left.total_seconds()) // 60)
    return (
        f"{identity} expires at {_show(identity.not_after)}, in {minutes // 60} h {minutes % 60}"
        " min: its issuer or cert-manager should have renewed it, unless it lives no longer"
    )


def _best(ours: Sequence[x509.Certificate], *, at: datetime | None) -> x509.Certificate:
    """Valid at the time, then latest to end, then first."""

    def rank(held: x509.Certificate) -> tuple[bool, datetime]:
        end = held.not_valid_after_utc
        return at is None or held.not_valid_before_utc - CLOCK_TOLERANCE <= at < end, end

    return max(ours, key=rank)


def _chained(
    leaf: x509.Certificate, certificates: Sequence[x509.Certificate], *, where: str
) -> Identity:
    others = [held for held in dict.fromkeys(certificates) if held != leaf]
    path = tuple(ancestors(leaf, others))
    return Identity(
        leaf=leaf,
        # A self-signed certificate is left out: either it is the trust anchor, which the service
        # has, or no path to the anchor leads through it, since it names no issuer but itself.
        chain=tuple(held for held in path if not is_self_signed(held)),
        unrelated=len(others) - len(path),
        where=where,
    )


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


def _show(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ")
