"""A bucket that tells whoever reads from it who they are. (pure)

For clients that know S3 and no other service: every bucket holds one object, `OBJECT`, whose
content is the caller. Signature Version 4 by the header, as the Amazon S3 API Reference has it
("Authenticating Requests: Using the Authorization Header"): the path is signed as it is sent, and
the content's hash by its header. It knows no writing and no anonymous access.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final
from xml.sax.saxutils import escape

from tests.fakes import callers, sigv4
from tests.fakes.sessions import Issued
from tests.fakes.sigv4 import Flaw
from tests.fakes.wire import Refusal, ServiceError, WireRequest

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
BUCKET: Final = "mirror"
OBJECT: Final = "whoami"

# The object has always been as it is.
_MODIFIED: Final = datetime(2026, 1, 1, tzinfo=UTC)


def verify(
    request: WireRequest, issued: Iterable[Issued], region: str, now: datetime
) -> Issued | ServiceError:
    """Whose request this is, among the credentials ``issued``, or S3's refusal."""
    try:
        return _verify(request, issued, region, now)
    except Refusal as refusal:
        return refusal.error


def _verify(request: WireRequest, issued: Iterable[Issued], region: str, now: datetime) -> Issued:
    try:
        envelope = sigv4.open_envelope(request, region=region, service="s3", now=now)
    except sigv4.NotProperlySigned as problem:
        code = "AccessDenied" if problem.flaw is Flaw.MISSING else "AuthorizationHeaderMalformed"
        raise _refused(403, code, str(problem)) from None
    caller = callers.holder(request, envelope, issued)
    if caller is None:
        raise _refused(403, "InvalidAccessKeyId", "The access key id or its token is unknown.")
    if not callers.signed(caller, envelope, _string_to_sign(request, envelope)):
        raise _refused(403, "SignatureDoesNotMatch", "The signature is not ours.")
    if now >= caller.session.expires:
        raise _refused(400, "ExpiredToken", "The provided token has expired.")
    if request.method not in ("GET", "HEAD"):
        raise _refused(405, "MethodNotAllowed", "The bucket is for reading.")
    return caller


def _string_to_sign(request: WireRequest, envelope: sigv4.Envelope) -> bytes:
    headers = "".join(
        f"{name}:{' '.join(','.join(request.all(name)).split())}\n"
        for name in envelope.signed_headers
    )
    lines = (
        request.method,
        request.path,
        sigv4.canonical_query(request.query),
        headers,
        ";".join(envelope.signed_headers),
        _content_hash(request),
    )
    digest = hashlib.sha256("\n".join(lines).encode("latin-1")).hexdigest()
    return "\n".join((envelope.algorithm, envelope.timestamp, envelope.scope, digest)).encode()


def _content_hash(request: WireRequest) -> str:
    digest = hashlib.sha256(request.body).hexdigest()
    if request.get("x-amz-content-sha256") != digest:
        raise _refused(400, "XAmzContentSHA256Mismatch", "The content is not what was signed.")
    return digest


def answer(request: WireRequest, caller: Issued) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for a request that ``caller`` signed."""
    bucket, _, key = request.path.removeprefix("/").partition("/")
    if bucket != BUCKET:
        return refusal(ServiceError(404, "NoSuchBucket", "There is one bucket."))
    if not key:
        return 200, {"Content-Type": "application/xml"}, _listing(caller)
    if key != OBJECT:
        return refusal(ServiceError(404, "NoSuchKey", "The bucket has one object."))
    content = content_for(caller)
    headers = {
        "Content-Type": "application/json",
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        "Last-Modified": format_datetime(_MODIFIED, usegmt=True),
    }
    return 200, headers, content


def content_for(caller: Issued) -> bytes:
    """What `OBJECT` holds for ``caller``."""
    told = {"key": caller.access_key_id, "arn": caller.session.assumed_role_arn}
    return json.dumps(told).encode()


def refusal(error: ServiceError) -> tuple[int, dict[str, str], bytes]:
    """S3's way to say no."""
    inside = f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
    return error.status, {"Content-Type": "application/xml"}, f"<Error>{inside}</Error>".encode()


def _listing(caller: Issued) -> bytes:
    size = len(content_for(caller))
    modified = f"{_MODIFIED:%Y-%m-%dT%H:%M:%S}.000Z"
    entry = f"<Key>{OBJECT}</Key><LastModified>{modified}</LastModified><Size>{size}</Size>"
    return (
        f'<ListBucketResult xmlns="{NAMESPACE}"><Name>{BUCKET}</Name><KeyCount>1</KeyCount>'
        "<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
        f"<Contents>{entry}</Contents></ListBucketResult>"
    ).encode()


def _refused(status: int, code: str, message: str) -> Refusal:
    return Refusal(ServiceError(status, code, message))
