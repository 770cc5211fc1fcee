"""The part of Signature Version 4 that a verifier does: rebuild what the client must have signed.

Written from "Create a signed AWS API request" (AWS IAM User Guide) and, for what certificates
change, from "The IAM Roles Anywhere authentication signing process"; services differ only in how
the last step, the signature, is checked. It never signs: ``signer`` does, and shares no code.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from tests.fakes.wire import WireRequest

# "A request must reach AWS within five minutes of the time stamp in the request."
MAX_SKEW: Final = timedelta(minutes=5)

_AUTHORIZATION: Final = re.compile(
    r"(?P<algorithm>[A-Z0-9-]+) +Credential=(?P<credential>[^/ ,]+)/(?P<scope>[^ ,]+), *"
    r"SignedHeaders=(?P<headers>[^ ,]+), *Signature=(?P<signature>(?:[0-9a-f]{2})+)"
)


class Flaw(StrEnum):
    """What is wrong with a signed request, before any signature is computed."""

    MISSING = "missing"  # not signed at all
    INCOMPLETE = "incomplete"  # something the protocol demands is absent or malformed
    SCOPE = "scope"  # signed for another day, region or service
    DATE = "date"  # signed too long ago, or in the future


class NotProperlySigned(Exception):
    """A request that cannot be believed; ``flaw`` is its kind and the text a sentence."""

    def __init__(self, flaw: Flaw, problem: str) -> None:
        super().__init__(problem)
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the Authorization header claims, checked against the rest of the request."""

    algorithm: str
    credential: str
    scope: str
    timestamp: str
    signed_headers: tuple[str, ...]
    signature: str


def open_envelope(
    request: WireRequest,
    *,
    region: str,
    service: str,
    now: datetime,
    signs_content_type: bool = True,
) -> Envelope:
    """The request's envelope, if scope, time and signed headers are in order at ``now``.

    ``signs_content_type`` is whether that header must be signed, as the documents have it.
    Raises ``NotProperlySigned``; the signature itself is left to the caller.
    """
    envelope = _read_envelope(request)
    _check_time(envelope.timestamp, now)
    expected = f"{envelope.timestamp[:8]}/{region}/{service}/aws4_request"
    if envelope.scope != expected:
        raise NotProperlySigned(
            Flaw.SCOPE, f"Credential scope is {envelope.scope}, expected {expected}"
        )
    _check_signed_headers(request, envelope.signed_headers, signs_content_type)
    return envelope


def _read_envelope(request: WireRequest) -> Envelope:
    header = request.get("authorization")
    if header is None:
        raise NotProperlySigned(Flaw.MISSING, "Missing Authentication Token")
    found = _AUTHORIZATION.fullmatch(header)
    if found is None:
        raise NotProperlySigned(Flaw.INCOMPLETE, "The Authorization header is malformed")
    return Envelope(
        algorithm=found["algorithm"],
        credential=found["credential"],
        scope=found["scope"],
        timestamp=request.get("x-amz-date") or "",
        signed_headers=tuple(found["headers"].split(";")),
        signature=found["signature"],
    )


def _check_time(timestamp: str, now: datetime) -> None:
    if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", timestamp):
        raise NotProperlySigned(Flaw.INCOMPLETE, "X-Amz-Date must be one YYYYMMDD'T'HHMMSS'Z'")
    try:
        signed_at = datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise NotProperlySigned(Flaw.INCOMPLETE, "X-Amz-Date is not a date") from None
    if now - signed_at > MAX_SKEW:
        raise NotProperlySigned(Flaw.DATE, f"Signature expired: {timestamp} is too long ago")
    if signed_at - now > MAX_SKEW:
        raise NotProperlySigned(Flaw.DATE, f"Signature not yet current: {timestamp} is to come")


def _check_signed_headers(
    request: WireRequest, signed: tuple[str, ...], signs_content_type: bool
) -> None:
    if list(signed) != sorted({name.lower() for name in signed}):
        raise NotProperlySigned(Flaw.INCOMPLETE, "SignedHeaders must be lower case and sorted")
    sent = {name.lower() for name, _ in request.headers}
    # "The CanonicalHeaders list must include the host header, the Content-Type header if it is
    # present, and any x-amz-* headers that you plan to include in your request."
    demanded = {"host", "x-amz-date"}
    demanded |= {name for name in sent if name.startswith("x-amz-")}
    if signs_content_type:
        demanded |= {"content-type"} & sent
    for name in sorted(demanded | set(signed)):
        if name not in sent:
            raise NotProperlySigned(Flaw.INCOMPLETE, f"Header {name} is missing")
        if name not in signed:
            raise NotProperlySigned(Flaw.INCOMPLETE, f"Header {name} is not signed")


def string_to_sign(request: WireRequest, envelope: Envelope) -> bytes:
    """The bytes that the client's signature must be over."""
    digest = hashlib.sha256(canonical_request(request, envelope.signed_headers)).hexdigest()
    return "\n".join((envelope.algorithm, envelope.timestamp, envelope.scope, digest)).encode()


def canonical_request(request: WireRequest, signed_headers: tuple[str, ...]) -> bytes:
    """Method, URI, query, headers, their names and the body's hash, one a line."""
    headers = "".join(f"{name}:{_canonical_value(request, name)}\n" for name in signed_headers)
    lines = (
        request.method,
        canonical_uri(request.path),
        canonical_query(request.query),
        headers,
        ";".join(signed_headers),
        hashlib.sha256(request.body).hexdigest(),
    )
    return "\n".join(lines).encode("latin-1")


def canonical_uri(path: str) -> str:
    """The path normalised (RFC 3986 section 5.2.4) and each segment encoded once more."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    trailing = "/" if kept and path.endswith("/") else ""
    return "/" + "/".join(_encode(each.encode("latin-1")) for each in kept) + trailing


def canonical_query(query: str) -> str:
    """The parameters decoded, encoded by RFC 3986's unreserved set, and sorted."""
    pairs = [part.partition("=") for part in query.split("&") if part]
    encoded = sorted((_recode(name), _recode(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def _canonical_value(request: WireRequest, name: str) -> str:
    """Values trimmed, inner runs of spaces made one, repeated fields joined by a comma."""
    return ",".join(re.sub(" +", " ", value.strip(" ")) for value in request.all(name))


def _recode(text: str) -> str:
    return _encode(unquote_to_bytes(text.encode("latin-1")))


def _encode(octets: bytes) -> str:
    """UriEncode: ``A-Z a-z 0-9 - . _ ~`` stay, every other byte becomes ``%XY``."""
    return quote(octets, safe="")
