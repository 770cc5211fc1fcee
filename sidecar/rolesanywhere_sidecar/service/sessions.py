"""CreateSession: the request out; the reply, or a typed failure, in.

Never sends anything. Of a reply that holds credentials nothing is ever quoted, whatever is wrong
with it: names of fields alone.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import Encoding

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.failures import InvalidReply, failure_class, hint_for, quoted
from rolesanywhere_sidecar.identities.identity import Identity
from rolesanywhere_sidecar.signing import Draft, KeyKind, draft_request

# STS: RoleSessionName (API reference, AssumeRole).
LONGEST_SESSION_NAME: Final = 64
_HASH_LENGTH: Final = 8

# SigV4 allows so many seconds between the request's date and the service's clock.
TOLERATED_SKEW_SECONDS: Final = 300

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_ASSUMED_ROLE = re.compile(r"arn:[a-z-]+:sts::(?P<account>[0-9]{12}):assumed-role/.+")
_ERROR_CODE = re.compile(r"[A-Za-z0-9.#_-]{1,128}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: header names in lower case; the body may hold secrets."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def draft(
    settings: Settings,
    identity: Identity,
    *,
    key_kind: KeyKind,
    invocation_id: str,
    at: datetime,
) -> Draft:
    """The request for a session as ``settings`` say, to be signed by ``identity``'s key."""
    return draft_request(
        host=host_header(settings.service_url),
        query={
            "profileArn": str(settings.profile_arn),
            "roleArn": str(settings.role_arn),
            "trustAnchorArn": str(settings.trust_anchor_arn),
        },
        body=_body(settings),
        certificate=identity.leaf.public_bytes(Encoding.DER),
        chain=[held.public_bytes(Encoding.DER) for held in identity.chain],
        serial=identity.serial,
        key_kind=key_kind,
        region=settings.signing_region,
        invocation_id=invocation_id,
        at=at,
    )


def host_header(service_url: str) -> str:
    """The Host header for ``service_url``: a port unless it is the scheme's own (RFC 9110, 7.2)."""
    url = urlsplit(service_url)
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
    default = url.port in (None, _DEFAULT_PORTS.get(url.scheme))
    return host if default else f"{host}:{url.port}"


def fit_session_name(name: str) -> str:
    """``name``, cut to the 64 characters that STS takes.

    What is cut ends in a hash of the whole, so that two long names that begin alike stay apart in
    CloudTrail. The name attributes a session, and decides nothing.
    """
    if len(name) <= LONGEST_SESSION_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: LONGEST_SESSION_NAME - _HASH_LENGTH - 1]}-{digest}"


def read_reply(reply: Reply, settings: Settings, *, at: datetime) -> Credentials:
    """The credentials in ``reply``, which arrived at the aware time ``at``.

    Raises a `failures.ServiceFailure`: what the service answered, or `InvalidReply` for an answer
    that is not the service's.
    """
    if not 200 <= reply.status < 300:
        raise _failure(reply, settings, at=at)
    session = _first_session(reply.body)
    secrets = session.get("credentials")
    if not isinstance(secrets, dict):
        raise _odd("has no credentials")
    expires = _expiration(_text(secrets, "expiration"))
    if expires <= at:
        raise InvalidReply(
            f"CreateSession gave a session that ended at {expires:%Y-%m-%d %H:%M:%SZ},"
            f" and it is {at:%Y-%m-%d %H:%M:%SZ}",
            hint="check this machine's clock",
        )
    return Credentials(
        access_key_id=_text(secrets, "accessKeyId"),
        secret_access_key=_text(secrets, "secretAccessKey"),
        session_token=_text(secrets, "sessionToken"),
        issued=at.astimezone(UTC),
        expires=expires,
        account_id=_account(session) or settings.role_arn.account,
    )


def date_of(reply: Reply) -> datetime | None:
    """The service's time when it answered, to the second; none where it does not tell."""
    return _http_date(reply.headers.get("date", ""))


def assumed_role_of(reply: Reply) -> str:
    """The ARN that AWS knows the owner of the session in ``reply`` by; empty if it is not told.

    Raises `InvalidReply` as `read_reply` does.
    """
    found = _assumed_role(_first_session(reply.body))
    return found[0] if found else ""


def _body(settings: Settings) -> bytes:
    wishes: dict[str, Any] = {"durationSeconds": settings.duration_seconds}
    if settings.role_session_name is not None:
        wishes["roleSessionName"] = fit_session_name(settings.role_session_name)
    return json.dumps(wishes, separators=(",", ":")).encode()


def _odd(problem: str) -> InvalidReply:
    return InvalidReply(
        f"CreateSession's reply {problem}",
        hint="check that the endpoint is Roles Anywhere's, and no proxy answers in its place",
    )


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _first_session(body: bytes) -> dict[str, Any]:
    document = _json_object(body)
    if document is None:
        raise _odd("is not a JSON object")
    sessions = document.get("credentialSet")
    if not isinstance(sessions, list) or not sessions:
        raise _odd("has an empty credentialSet")
    if not isinstance(sessions[0], dict):
        raise _odd("has a credentialSet of something else than sessions")
    return sessions[0]


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _odd(f"has a credentials.{name} that is missing or blank")
    return value


def _expiration(text: str) -> datetime:
    try:
        expires = datetime.fromisoformat(text)
        if expires.tzinfo is None:
            raise ValueError
        return expires.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _odd("has a credentials.expiration that is not a time with its zone") from None


def _account(session: Mapping[str, Any]) -> str | None:
    found = _assumed_role(session)
    return found["account"] if found else None


def _assumed_role(session: Mapping[str, Any]) -> re.Match[str] | None:
    user = session.get("assumedRoleUser")
    arn = user.get("arn") if isinstance(user, dict) else None
    return _ASSUMED_ROLE.fullmatch(arn) if isinstance(arn, str) else None


def _failure(reply: Reply, settings: Settings, *, at: datetime) -> Exception:
    document = _json_object(reply.body)
    code = _error_code(reply.headers, document or {})
    message = _message(document or {})
    kind = failure_class(reply.status, code)
    said = f"{code or 'no error code'}: {message}" if message else code or "nothing that it says"
    if document is None and not code:
        said = "something that is not the service's JSON"
    request_id = reply.headers.get("x-amzn-requestid", "")
    trace = f" (request id {request_id})" if _REQUEST_ID.fullmatch(request_id) else ""
    return kind(
        f"CreateSession at {host_header(settings.service_url)} answered {reply.status}"
        f" with {said}{trace}",
        hint=_skew(reply, at=at) or hint_for(kind, message) or _hint_for_status(reply.status),
        retry_after=_retry_after(reply.headers, at=at),
    )


def _error_code(headers: Mapping[str, str], document: Mapping[str, Any]) -> str:
    """Header, ``code`` or ``__type``, without namespace and address (Smithy AWS restJson1)."""
    places = (headers.get("x-amzn-errortype"), document.get("code"), document.get("__type"))
    given = next((text for text in places if isinstance(text, str) and text), "")
    code = given.partition(":")[0].rpartition("#")[2].strip()
    return code if _ERROR_CODE.fullmatch(code) else ""


def _message(document: Mapping[str, Any]) -> str:
    texts = (document.get("message"), document.get("Message"))
    return quoted(next((text for text in texts if isinstance(text, str)), ""))


def _skew(reply: Reply, *, at: datetime) -> str:
    """The service does not say that a date is off; its Date header shows it."""
    if reply.status != 403 or (theirs := date_of(reply)) is None:
        return ""
    seconds = (at - theirs).total_seconds()
    if abs(seconds) <= TOLERATED_SKEW_SECONDS:
        return ""
    return (
        f"this machine's clock is {abs(seconds) / 60:.0f} minutes"
        f" {'ahead of' if seconds > 0 else 'behind'} the service's: set it"
    )


def _hint_for_status(status: int) -> str:
    if 300 <= status < 400:
        return "a signed request follows no redirect: set the endpoint itself"
    return "check the endpoint, and any proxy on the way" if status < 500 else ""


def _retry_after(headers: Mapping[str, str], *, at: datetime) -> float | None:
    """Seconds, from either form of RFC 9110, section 10.2.3; never negative."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    when = _http_date(text)
    return None if when is None else max(0.0, (when - at).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
