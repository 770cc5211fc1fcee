"""CreateSession as IAM Roles Anywhere decides it: ``verify(request, world, now)``. (pure)

Written from the IAM Roles Anywhere User Guide ("authentication", "authentication-sign-process",
"authentication-create-session", "trust-model"). The error types are those of the service's model.
Three messages are AWS's own, seen in public reports ("Untrusted Signing Certificate", "Invalid
signature", "Not authorized to set roleSessionName."); the others are ours, because the service's
words are not published. Where the documents leave a choice, this refuses.

It never imports the project's own signer, so that the two can disagree.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.fakes import policies, sigv4, trust
from tests.fakes.algorithms import ALGORITHMS
from tests.fakes.sessions import Session
from tests.fakes.wire import Refusal, ServiceError, WireRequest
from tests.fakes.world import Arn, Profile, World

DURATION_SECONDS: Final = range(900, 43200 + 1)
SESSION_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
# What STS lets a session tag's value be; subject fields are mapped into tags.
TAG_VALUE: Final = re.compile(r"[\w\s.:/=+@-]{0,256}")

_ARN_PARAMETERS: Final = ("profileArn", "roleArn", "trustAnchorArn")


@dataclass(frozen=True, slots=True)
class _Parameters:
    """CreateSession's input, parsed."""

    profile_arn: str
    role_arn: str
    trust_anchor_arn: str
    duration_seconds: int | None
    role_session_name: str | None


def verify(request: WireRequest, world: World, now: datetime) -> Session | ServiceError:
    """The session that ``request`` is entitled to at ``now``, or the service's refusal."""
    try:
        return _verify(request, world, now)
    except Refusal as refusal:
        return refusal.error


def _verify(request: WireRequest, world: World, now: datetime) -> Session:
    """1 it is CreateSession; 2 who signed it, and is the signature theirs; 3 what it asks for;
    4 does the trust anchor vouch for the signer; 5 does the profile allow it; 6 does the role."""
    if (request.method, request.path) != ("POST", "/sessions"):
        raise Refusal(ServiceError(404, "UnknownOperationException", "No such operation"))
    leaf = _signer_of(request, world, now)
    asked = _parameters(request)
    role = _parse_arns(asked, world)
    _check_trust(request, leaf, asked, world, now)
    profile = _profile_for(asked, world)
    return _grant(leaf, asked, role, profile, world, now)


def _denied(message: str) -> Refusal:
    return Refusal(ServiceError(403, "AccessDeniedException", message))


def _invalid(message: str) -> Refusal:
    return Refusal(ServiceError(400, "ValidationException", message))


def _signer_of(request: WireRequest, world: World, now: datetime) -> x509.Certificate:
    """The certificate whose key has signed exactly this request."""
    try:
        envelope = sigv4.open_envelope(
            request, region=world.region, service="rolesanywhere", now=now
        )
        leaf = trust.read_header(request.get("x-amz-x509") or "")
    except (sigv4.NotProperlySigned, trust.Untrusted) as problem:
        raise _denied(str(problem)) from None
    if envelope.credential != str(leaf.serial_number):
        raise _denied("Credential must start with the certificate's serial number in decimal")
    algorithm = ALGORITHMS.get(envelope.algorithm)
    if algorithm is None or not algorithm.fits(leaf.public_key()):
        raise _denied(f"{envelope.algorithm} is not an algorithm of the certificate's key")
    signed = sigv4.string_to_sign(request, envelope)
    if not algorithm.verifies(leaf.public_key(), bytes.fromhex(envelope.signature), signed):
        raise _denied("Invalid signature")
    return leaf


def _parameters(request: WireRequest) -> _Parameters:
    """ARNs from the query or the JSON body; the rest from the body. Unknown members are ignored."""
    body = _json_object(request.body)
    query = _query(request.query)
    arns = {name: _arn_parameter(name, query, body) for name in _ARN_PARAMETERS}
    return _Parameters(
        profile_arn=arns["profileArn"],
        role_arn=arns["roleArn"],
        trust_anchor_arn=arns["trustAnchorArn"],
        duration_seconds=_duration(body.get("durationSeconds")),
        role_session_name=_session_name(body.get("roleSessionName")),
    )


def _json_object(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body) if body else {}
    except ValueError:
        raise _invalid("The request body is not JSON") from None
    if not isinstance(document, dict):
        raise _invalid("The request body is not a JSON object")
    return document


def _query(query: str) -> Mapping[str, str]:
    pairs = [part.partition("=") for part in query.split("&") if part]
    return {unquote(name): unquote(value) for name, _, value in pairs}


def _arn_parameter(name: str, query: Mapping[str, str], body: Mapping[str, object]) -> str:
    given = [source[name] for source in (query, body) if source.get(name) is not None]
    if not given:
        raise _invalid(f"{name} is required")
    arn = given[0]
    if not isinstance(arn, str):
        raise _invalid(f"{name} must be a string")
    if given[1:] not in ([], [arn]):
        raise _invalid(f"{name} differs between query and body")
    return arn


def _duration(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or value not in DURATION_SECONDS:
        raise _invalid("durationSeconds must be a whole number from 900 to 43200")
    return value


def _session_name(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not SESSION_NAME.fullmatch(value):
        raise _invalid(f"roleSessionName must match {SESSION_NAME.pattern}")
    return value


def _parse_arns(asked: _Parameters, world: World) -> Arn:
    """The role, once all three ARNs are of their kind, of one account, and of this region."""
    anchor = _arn(asked.trust_anchor_arn, "rolesanywhere", "trust-anchor", world.region)
    profile = _arn(asked.profile_arn, "rolesanywhere", "profile", world.region)
    role = _arn(asked.role_arn, "iam", "role", "")
    if len({(arn.partition, arn.account) for arn in (anchor, profile, role)}) > 1:
        raise _denied("Trust anchor, profile and role must be of one account")
    return role


def _arn(text: str, service: str, kind: str, region: str) -> Arn:
    arn = Arn.parse(text)
    if arn is None or (arn.service, arn.kind) != (service, kind):
        raise _invalid(f"{text!r} is not the ARN of a {kind}")
    if arn.region != region:
        raise _invalid(f"{text} is of region {arn.region!r}, expected {region!r}")
    return arn


def _check_trust(
    request: WireRequest, leaf: x509.Certificate, asked: _Parameters, world: World, now: datetime
) -> None:
    anchor = world.trust_anchors.get(asked.trust_anchor_arn)
    if anchor is None:
        raise _not_found(asked.trust_anchor_arn)
    if not anchor.enabled:
        raise _denied("The trust anchor is disabled")
    try:
        trust.check_leaf(leaf, now)
        header = request.get("x-amz-x509-chain")
        chain = [trust.read_header(text) for text in header.split(",")] if header else []
    except trust.Untrusted as problem:
        raise _denied(str(problem)) from None
    try:
        trust.check_path(leaf, anchor.certificates, chain, now)
    except trust.Untrusted:
        raise _denied("Untrusted Signing Certificate") from None


def _profile_for(asked: _Parameters, world: World) -> Profile:
    """The profile, if it gives the role and takes the session name."""
    profile = world.profiles.get(asked.profile_arn)
    if profile is None:
        raise _not_found(asked.profile_arn)
    if not profile.enabled:
        raise _denied("The profile is disabled")
    if asked.role_arn not in profile.role_arns:
        raise _denied(f"{asked.role_arn} is not a role of the profile")
    if asked.role_session_name is not None and not profile.accept_role_session_name:
        raise _denied("Not authorized to set roleSessionName.")
    return profile


def _not_found(arn: str) -> Refusal:
    return Refusal(ServiceError(404, "ResourceNotFoundException", f"{arn} does not exist"))


def _grant(
    leaf: x509.Certificate,
    asked: _Parameters,
    role: Arn,
    profile: Profile,
    world: World,
    now: datetime,
) -> Session:
    _check_tags(leaf, asked.role_arn)
    _check_policy(leaf, asked, world)
    seconds = min(asked.duration_seconds or profile.duration_seconds, profile.duration_seconds)
    fingerprint = hashlib.sha256(leaf.public_bytes(Encoding.DER)).digest()
    return Session(
        role=role,
        role_arn=asked.role_arn,
        session_name=asked.role_session_name or serial_in_hex(leaf.serial_number),
        source_identity=",".join(_common_names(leaf)),
        serial_number=leaf.serial_number,
        subject_arn=f"arn:{role.partition}:rolesanywhere:{world.region}:{role.account}:subject/"
        f"{uuid.UUID(bytes=fingerprint[:16])}",
        region=world.region,
        expires=now.replace(microsecond=0) + timedelta(seconds=seconds),
    )


def _check_tags(leaf: x509.Certificate, role_arn: str) -> None:
    """Subject fields become session tags, and STS refuses values that a tag cannot hold."""
    bad = [each.rfc4514_attribute_name for each in leaf.subject if not _is_tag_value(each.value)]
    if bad:
        raise _denied(
            f"Unable to assume role for {role_arn}. Some attributes failed to be mapped into "
            f"session tags. Issuer: []; Subject: [{', '.join(bad)}]; SAN: []"
        )


def _check_policy(leaf: x509.Certificate, asked: _Parameters, world: World) -> None:
    """The role decides by the trust anchor and by the first value of each field of the subject."""
    policy = world.trust_policies.get(asked.role_arn)
    tags = {
        f"aws:PrincipalTag/x509Subject/{each.rfc4514_attribute_name}": str(each.value)
        for each in reversed(list(leaf.subject))
    }
    context = {"aws:SourceArn": asked.trust_anchor_arn, **tags}
    if policy is not None and not policies.lets_in(policy, context):
        raise _denied(f"Unable to assume role for {asked.role_arn}")


def _is_tag_value(value: str | bytes) -> bool:
    return isinstance(value, str) and TAG_VALUE.fullmatch(value) is not None


def _common_names(leaf: x509.Certificate) -> list[str]:
    return [str(each.value) for each in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def serial_in_hex(serial: int) -> str:
    """The default session name: "the hex-encoded serial number". Two digits a byte, lower case,
    no sign byte; the documents do not show which, so nothing should depend on it."""
    return serial.to_bytes(max(1, (serial.bit_length() + 7) // 8)).hex()
