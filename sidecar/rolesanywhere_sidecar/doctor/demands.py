"""Would Roles Anywhere take this certificate, and for how long?

Its demands are those of the IAM Roles Anywhere user guide, "Trust model": X.509 version 3,
CA:false, digitalSignature, signed with SHA-256 or stronger, valid now. Pure: ``at`` is aware.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from rolesanywhere_sidecar.doctor.findings import Check, Finding, failure, ok, warning
from rolesanywhere_sidecar.identities.certificates import described
from rolesanywhere_sidecar.identities.identity import CLOCK_TOLERANCE, EXPIRES_SOON

THIS_WEEK: Final = timedelta(weeks=1)
# The same as of `keys.memory`, which signs and so is not pure.
MINIMUM_RSA_BITS: Final = 2048

_WEAK: Final = (hashes.MD5, hashes.SHA1, hashes.SHA224)
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def examine(
    leaf: x509.Certificate, chain: Sequence[x509.Certificate], *, at: datetime
) -> Iterator[Finding]:
    """Every check of the leaf, and the dates and hashes of its chain."""
    yield _validity(leaf, at)
    yield from _chain_validity(chain, at)
    yield _version(leaf)
    yield _basic_constraints(leaf)
    yield _key_usage(leaf)
    yield _extended_key_usage(leaf)
    yield from _signature_hash(leaf, chain)
    yield _key_type(leaf)


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """None where there is no such extension, or none that can be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None


def _validity(leaf: x509.Certificate, at: datetime) -> Finding:
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if at >= end:
        return failure(
            Check.VALIDITY,
            f"the certificate expired at {_show(end)}, and it is {_show(at)}",
            "renew it, and see why its issuer (cert-manager, a cron job) did not",
        )
    if at < start - CLOCK_TOLERANCE:
        return failure(
            Check.VALIDITY,
            f"the certificate is valid only from {_show(start)}, and it is {_show(at)}",
            "wait, or set this machine's clock",
        )
    left = end - at
    sentence = f"the certificate expires in {_length(left)}, at {_show(end)}"
    # One that never lives for long is renewed in its last days as a matter of course.
    if left < EXPIRES_SOON or (left < THIS_WEEK and end - start > 2 * THIS_WEEK):
        return warning(
            Check.VALIDITY, sentence, "see that it is being renewed; new files need no restart"
        )
    return ok(Check.VALIDITY, sentence)


def _chain_validity(chain: Sequence[x509.Certificate], at: datetime) -> Iterator[Finding]:
    if not chain:
        return
    wrong = [
        held
        for held in chain
        if not held.not_valid_before_utc - CLOCK_TOLERANCE <= at < held.not_valid_after_utc
    ]
    for held in wrong:
        yield failure(
            Check.CHAIN_VALIDITY,
            f"the intermediate {described(held)} is valid from"
            f" {_show(held.not_valid_before_utc)} to {_show(held.not_valid_after_utc)}, and it is"
            f" {_show(at)}",
            "get the issuer's current intermediate, or make its issuer the trust anchor",
        )
    if wrong:
        return
    first = min(chain, key=lambda held: held.not_valid_after_utc)
    left = first.not_valid_after_utc - at
    sentence = f"the first intermediate to expire does so in {_length(left)}: {described(first)}"
    if left < THIS_WEEK:
        yield warning(Check.CHAIN_VALIDITY, sentence, "get the issuer's next intermediate")
    else:
        yield ok(Check.CHAIN_VALIDITY, sentence)


def _version(leaf: x509.Certificate) -> Finding:
    if leaf.version is x509.Version.v3:
        return ok(Check.X509_VERSION, "the certificate is X.509 version 3")
    return failure(
        Check.X509_VERSION,
        f"the certificate is X.509 version {leaf.version.value + 1}, expected 3",
        "issue it with extensions, which makes it version 3",
    )


def _basic_constraints(leaf: x509.Certificate) -> Finding:
    found = extension(leaf, x509.BasicConstraints)
    if found is None:
        return warning(
            Check.BASIC_CONSTRAINTS,
            "the certificate has no basic constraints, expected CA:false",
            "issue it with basicConstraints CA:false",
        )
    if found.ca:
        return failure(
            Check.BASIC_CONSTRAINTS,
            "the certificate is an authority's (CA:true), expected CA:false",
            "issue an end-entity certificate below it, and use that",
        )
    return ok(Check.BASIC_CONSTRAINTS, "the certificate is an end entity's (CA:false)")


def _key_usage(leaf: x509.Certificate) -> Finding:
    found = extension(leaf, x509.KeyUsage)
    if found is None:
        return warning(
            Check.KEY_USAGE,
            "the certificate has no key usage, expected digitalSignature",
            "issue it with keyUsage digitalSignature",
        )
    if not found.digital_signature:
        return failure(
            Check.KEY_USAGE,
            "the certificate's key usage lacks digitalSignature",
            'issue it with keyUsage digitalSignature (cert-manager: usages "digital signature")',
        )
    return ok(Check.KEY_USAGE, "the certificate's key may make digital signatures")


def _extended_key_usage(leaf: x509.Certificate) -> Finding:
    found = extension(leaf, x509.ExtendedKeyUsage)
    has = "has none" if found is None else f"names {len(list(found))}"
    return ok(Check.EXTENDED_KEY_USAGE, f"Roles Anywhere asks for none, and the certificate {has}")


def _signature_hash(leaf: x509.Certificate, chain: Sequence[x509.Certificate]) -> Iterator[Finding]:
    weak = [held for held in (leaf, *chain) if isinstance(_hash_of(held), _WEAK)]
    for held in weak:
        digest = _hash_of(held)
        name = digest.name.upper() if digest else "nothing known"
        yield failure(
            Check.SIGNATURE_HASH,
            f"{described(held)} is signed with {name}, expected SHA-256 or stronger",
            "let its issuer sign with SHA-256, and issue it anew",
        )
    if not weak:
        digest = _hash_of(leaf)
        shown = digest.name.upper() if digest else "an algorithm without a separate hash"
        yield ok(Check.SIGNATURE_HASH, f"the certificate is signed with {shown}")


def _hash_of(certificate: x509.Certificate) -> hashes.HashAlgorithm | None:
    try:
        return certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None


def _key_type(leaf: x509.Certificate) -> Finding:
    expected = "RSA of 2048 bits or more, ECDSA on P-256, P-384 or P-521, or ML-DSA"
    remedy = f"issue a certificate for another key: {expected}"
    try:
        key = leaf.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return failure(Check.KEY_TYPE, f"the key's algorithm is not known, expected {expected}",
                       remedy)  # fmt: skip
    name, fits = _named(key)
    if not fits:
        return failure(Check.KEY_TYPE, f"the key is {name}, expected {expected}", remedy)
    return ok(Check.KEY_TYPE, f"the key is {name}")


def _named(key: object) -> tuple[str, bool]:
    """What kind of key it is, and whether it can sign for Roles Anywhere."""
    if isinstance(key, RSAPublicKey):
        return f"RSA of {key.key_size} bits", key.key_size >= MINIMUM_RSA_BITS
    if isinstance(key, EllipticCurvePublicKey):
        curve = _CURVES.get(key.curve.name)
        return f"ECDSA on {curve or key.curve.name}", curve is not None
    name = type(key).__name__.removesuffix("PublicKey")
    if name.startswith("MLDSA"):
        return f"ML-DSA-{name.removeprefix('MLDSA')}", True
    return name, False


def _length(left: timedelta) -> str:
    if left >= timedelta(days=2):
        return f"{left.days} days"
    if left >= timedelta(hours=2):
        return f"{left // timedelta(hours=1)} hours"
    return f"{left // timedelta(minutes=1)} minutes"


def _show(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ")
