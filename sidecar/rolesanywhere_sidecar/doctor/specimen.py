"""The identity as it is on disk, as far as it can be read.

Reads through the same code as ``serve``: certificates, key, and both together, each for itself, so
that one mistake does not hide the next. Never shows a key.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, padding, rsa

from rolesanywhere_contract.certselector import InvalidCertSelector
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import IdentitySettings
from rolesanywhere_sidecar.doctor import chains, demands, tags
from rolesanywhere_sidecar.doctor.findings import Check, Finding, failure, ok, skipped
from rolesanywhere_sidecar.identities.certificates import described
from rolesanywhere_sidecar.identities.identity import Identity, KeyMismatch
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles, UnreadableFile
from rolesanywhere_sidecar.identities.keys import (
    InvalidKey,
    PasswordMissing,
    PasswordWrong,
    SigningKey,
    UnsupportedKey,
)

TRIAL: Final = b"rolesanywhere-sidecar doctor: does this key belong to this certificate?"

# Between attempts to read files that change; somebody waits at a terminal.
_PAUSE_SECONDS: Final = 0.05

_LOOK: Final = "look into the file with openssl"

_OF_THE_KEY: Final = (InvalidKey, PasswordMissing, PasswordWrong, UnsupportedKey)

_OF_THE_LEAF: Final = (
    Check.CHAIN, Check.VALIDITY, Check.X509_VERSION, Check.BASIC_CONSTRAINTS, Check.KEY_USAGE,
    Check.EXTENDED_KEY_USAGE, Check.SIGNATURE_HASH, Check.KEY_TYPE, Check.SESSION_TAGS,
    Check.PACKED_TAGS,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """``given`` is every certificate found, in order; each problem says why something is missing.

    All is empty where no certificate is set.
    """

    given: Sequence[x509.Certificate] = ()
    certificate_problem: RolesAnywhereError | None = None
    key: SigningKey | None = field(default=None, repr=False)
    key_problem: RolesAnywhereError | None = None
    identity: Identity | None = None
    problem: RolesAnywhereError | None = None

    @property
    def leaf(self) -> x509.Certificate | None:
        """The key's certificate, or the likeliest while no key tells which it is."""
        if self.identity is not None:
            return self.identity.leaf
        return next(filter(_is_end_entity, self.given), next(iter(self.given), None))

    @property
    def chain(self) -> Sequence[x509.Certificate]:
        """What would be sent above the leaf."""
        return self.identity.chain if self.identity else ()


async def take(values: Mapping[str, Any]) -> Specimen:
    """The identity that the settings' ``values`` lead to. Raises nothing of our own."""
    if "certificate" not in values:
        return Specimen()
    named = {each.name: values[each.name] for each in fields(IdentitySettings)}
    files = replace(IdentityFiles.of(IdentitySettings(**named)), pause=_PAUSE_SECONDS)
    try:
        await asyncio.to_thread(files.wanted)
    except RolesAnywhereError as wrong:
        # Of the places that are looked at before, the selector's file is none.
        problem = InvalidCertSelector(wrong.problem, hint=wrong.hint)
        return Specimen(certificate_problem=problem, key_problem=problem, problem=problem)
    given, certificate_problem = await asyncio.to_thread(_given, files)
    key, key_problem = await asyncio.to_thread(_key, files)
    found = Specimen(
        given=given, certificate_problem=certificate_problem, key=key, key_problem=key_problem
    )
    if certificate_problem or key_problem:
        return found
    try:
        identity, key = await files.load()
    except RolesAnywhereError as problem:
        return replace(found, problem=problem)
    return replace(found, identity=identity, key=key)


async def examine(specimen: Specimen, *, at: datetime) -> Sequence[Finding]:
    """Every check of certificate and key."""
    found = [_certificate(specimen), _private_key(specimen), await _key_match(specimen)]
    leaf = specimen.leaf
    if leaf is None:
        reason = "no certificate could be read"
        return [*found, *(skipped(check, reason) for check in _OF_THE_LEAF)]
    if specimen.identity is None:
        found.append(skipped(Check.CHAIN, "without its key, it is not known which is the leaf"))
    else:
        found += chains.examine(leaf, specimen.chain, specimen.given)
    found += demands.examine(leaf, specimen.chain, at=at)
    found += tags.examine(leaf)
    return found


def verifies(public_key: object, payload: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is what the service would accept from the owner of ``public_key``."""
    try:
        match public_key:
            case rsa.RSAPublicKey():
                public_key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
            case ec.EllipticCurvePublicKey():
                public_key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
            case mldsa.MLDSA44PublicKey() | mldsa.MLDSA65PublicKey() | mldsa.MLDSA87PublicKey():
                public_key.verify(signature, payload)
            case _:
                return False
    except InvalidSignature:
        return False
    return True


def _certificate(specimen: Specimen) -> Finding:
    problem = specimen.certificate_problem or specimen.problem
    if isinstance(problem, UnreadableFile):
        return skipped(Check.CERTIFICATE, "a file cannot be read, see above")
    if isinstance(problem, _OF_THE_KEY):
        return skipped(Check.CERTIFICATE, "it is in a file that does not open, see private-key")
    if problem is not None and not isinstance(problem, KeyMismatch):
        return failure(Check.CERTIFICATE, problem.problem, problem.hint or _LOOK)
    if specimen.leaf is None:
        return skipped(Check.CERTIFICATE, "none is set")
    several = f", one of {len(specimen.given)} found" if len(specimen.given) > 1 else ""
    return ok(Check.CERTIFICATE, f"{described(specimen.leaf)} is the leaf{several}")


def _private_key(specimen: Specimen) -> Finding:
    problem = specimen.key_problem
    if specimen.key is not None:
        return ok(Check.PRIVATE_KEY, f"the private key can be used ({specimen.key.kind})")
    if isinstance(problem, _OF_THE_KEY):
        return failure(Check.PRIVATE_KEY, problem.problem, problem.hint or _LOOK)
    return skipped(Check.PRIVATE_KEY, "the files could not be read, see above")


async def _key_match(specimen: Specimen) -> Finding:
    if isinstance(specimen.problem, KeyMismatch):
        return failure(Check.KEY_MATCH, specimen.problem.problem, specimen.problem.hint)
    if specimen.identity is None or specimen.key is None:
        return skipped(Check.KEY_MATCH, "certificate or private key could not be read")
    signature = await specimen.key.sign(TRIAL)
    if verifies(specimen.identity.leaf.public_key(), TRIAL, signature):
        return ok(Check.KEY_MATCH, "the certificate verifies a trial signature of the private key")
    return failure(
        Check.KEY_MATCH,
        "the certificate does not verify a trial signature of the private key",
        "use the key that this certificate was issued for",
    )


def _is_end_entity(certificate: x509.Certificate) -> bool:
    constraints = demands.extension(certificate, x509.BasicConstraints)
    return constraints is None or not constraints.ca


def _given(
    files: IdentityFiles,
) -> tuple[tuple[x509.Certificate, ...], RolesAnywhereError | None]:
    try:
        return files.collect().certificates, None
    except RolesAnywhereError as problem:
        return (), problem


def _key(files: IdentityFiles) -> tuple[SigningKey | None, RolesAnywhereError | None]:
    try:
        return files.open_key(), None
    except RolesAnywhereError as problem:
        return None, problem
