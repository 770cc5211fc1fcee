"""The identity as it is, on disk or in a token, as far as it can be read.

Reads through the same code as ``serve``: certificates, key, and both together, each for itself, so
that one mistake does not hide the next. A key in a token is looked for once, and its PIN tried
once. Never shows a key.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from cryptography import x509

from rolesanywhere_contract import pkcs11uri
from rolesanywhere_contract.certselector import InvalidCertSelector
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import IdentitySettings
from rolesanywhere_sidecar.doctor import chains, demands, tags
from rolesanywhere_sidecar.doctor.findings import Check, Finding, failure, ok, skipped
from rolesanywhere_sidecar.identities import sources
from rolesanywhere_sidecar.identities.certificates import described
from rolesanywhere_sidecar.identities.identity import Identity, KeyMismatch, NoSuchCertificate
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles, UnreadableFile
from rolesanywhere_sidecar.identities.keys import (
    InvalidKey,
    PasswordMissing,
    PasswordWrong,
    SigningKey,
    UnsupportedKey,
)
from rolesanywhere_sidecar.identities.keys.proof import verifies
from rolesanywhere_sidecar.identities.pkcs11.errors import PinProblem, TokenProblem
from rolesanywhere_sidecar.identities.token_identity import TokenIdentity

TRIAL: Final = b"rolesanywhere-sidecar doctor: does this key belong to this certificate?"

# Between attempts to read files that change; somebody waits at a terminal.
_PAUSE_SECONDS: Final = 0.05

_LOOK: Final = "look into the file with openssl"

_ABOVE: Final = "the token cannot be used, see above"

_OF_THE_KEY: Final = (InvalidKey, PasswordMissing, PasswordWrong, UnsupportedKey)

_OF_THE_LEAF: Final = (
    Check.CHAIN, Check.VALIDITY, Check.X509_VERSION, Check.BASIC_CONSTRAINTS, Check.KEY_USAGE,
    Check.EXTENDED_KEY_USAGE, Check.SIGNATURE_HASH, Check.KEY_TYPE, Check.SESSION_TAGS,
    Check.PACKED_TAGS,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """``given`` is every certificate found, in order; each problem says why something is missing.

    A token that ``is_unreachable`` was not asked. All is empty where no certificate is set.
    """

    given: Sequence[x509.Certificate] = ()
    certificate_problem: RolesAnywhereError | None = None
    key: SigningKey | None = field(default=None, repr=False)
    key_problem: RolesAnywhereError | None = None
    identity: Identity | None = None
    problem: RolesAnywhereError | None = None
    source: IdentityFiles | TokenIdentity | None = field(default=None, repr=False)
    is_unreachable: bool = False

    def close(self) -> None:
        """Let go of what the key needs to sign."""
        if self.source is not None:
            self.source.close()

    @property
    def leaf(self) -> x509.Certificate | None:
        """The key's certificate, or the likeliest while no key tells which it is."""
        if self.identity is not None:
            return self.identity.leaf
        return next(filter(_is_end_entity, self.given), next(iter(self.given), None))

    @property
    def related(self) -> Sequence[x509.Certificate]:
        """All that somebody meant for this identity: a token holds other people's as well."""
        if isinstance(self.source, TokenIdentity) and self.source.certificate_uri is not None:
            return () if self.leaf is None else (self.leaf, *self.chain)
        return self.given

    @property
    def chain(self) -> Sequence[x509.Certificate]:
        """What would be sent above the leaf."""
        return self.identity.chain if self.identity else ()


def settings_of(values: Mapping[str, Any]) -> IdentitySettings | None:
    """Those of the settings' ``values`` that say where the identity is, if they do."""
    if "certificate" not in values:
        return None
    return IdentitySettings(**{each.name: values[each.name] for each in fields(IdentitySettings)})


async def take(
    values: Mapping[str, Any],
    *,
    env: Mapping[str, str] = MappingProxyType({}),
    unreachable: RolesAnywhereError | None = None,
) -> Specimen:
    """The identity that the settings' ``values`` lead to; close it. Raises nothing of our own.

    ``unreachable`` is why a token that they lead to need not be asked.
    """
    settings = settings_of(values)
    if settings is None:
        return Specimen()
    if sources.in_a_token(settings):
        return await _from_token(settings, env, unreachable)
    files = replace(IdentityFiles.of(settings), pause=_PAUSE_SECONDS)
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


async def _from_token(
    settings: IdentitySettings, env: Mapping[str, str], unreachable: RolesAnywhereError | None
) -> Specimen:
    try:
        source = sources.source(settings, env=env)
    except RolesAnywhereError as wrong:
        return Specimen(certificate_problem=wrong, key_problem=wrong, is_unreachable=True)
    found = Specimen(source=source, key_problem=unreachable, is_unreachable=bool(unreachable))
    if unreachable and pkcs11uri.is_one(settings.certificate):
        return replace(found, certificate_problem=unreachable)
    given, problem = await asyncio.to_thread(_given, source)
    found = replace(found, given=given, certificate_problem=problem)
    if problem or unreachable:
        return replace(found, key_problem=unreachable or problem)
    try:
        identity, key = await source.load()
    except (TokenProblem, *_OF_THE_KEY) as wrong:
        return replace(found, key_problem=wrong)
    except RolesAnywhereError as wrong:
        return replace(found, problem=wrong)
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
        found += chains.examine(leaf, specimen.chain, specimen.related)
    found += demands.examine(leaf, specimen.chain, at=at)
    found += tags.examine(leaf)
    return found


def _certificate(specimen: Specimen) -> Finding:
    problem = specimen.certificate_problem or specimen.problem
    if isinstance(problem, UnreadableFile):
        return skipped(Check.CERTIFICATE, "a file cannot be read, see above")
    if isinstance(problem, PinProblem) or (problem and specimen.is_unreachable):
        return skipped(Check.CERTIFICATE, _ABOVE)
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
    if isinstance(problem, PinProblem) or specimen.is_unreachable:
        return skipped(Check.PRIVATE_KEY, _ABOVE)
    if isinstance(problem, (TokenProblem, *_OF_THE_KEY)):
        return failure(Check.PRIVATE_KEY, problem.problem, problem.hint or _LOOK)
    if isinstance(specimen.problem, KeyMismatch):
        return ok(Check.PRIVATE_KEY, "the private key can be used")
    if isinstance(problem, NoSuchCertificate):
        return skipped(Check.PRIVATE_KEY, "without its certificate, it is not known which it is")
    return skipped(Check.PRIVATE_KEY, "the files could not be read, see above")


async def _key_match(specimen: Specimen) -> Finding:
    if isinstance(specimen.problem, KeyMismatch):
        return failure(Check.KEY_MATCH, specimen.problem.problem, specimen.problem.hint)
    if specimen.identity is None or specimen.key is None:
        return skipped(Check.KEY_MATCH, "certificate or private key could not be read")
    try:
        signature = await specimen.key.sign(TRIAL)
    except RolesAnywhereError as problem:
        return failure(Check.KEY_MATCH, problem.problem, problem.hint)
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
    files: IdentityFiles | TokenIdentity,
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
