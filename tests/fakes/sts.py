"""``sts:GetCallerIdentity`` for the credentials that the pretended Roles Anywhere gave out. (pure)

Signature Version 4 by the header, checked as the AWS IAM User Guide describes it; answers in the
query protocol's XML with STS's own error codes. It knows no long-lived keys and no other action.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from tests.fakes import callers, sigv4
from tests.fakes.sessions import Issued
from tests.fakes.sigv4 import Flaw
from tests.fakes.wire import Refusal, ServiceError, WireRequest

NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"

_REFUSALS: Final[Mapping[Flaw, tuple[int, str]]] = {
    Flaw.MISSING: (403, "MissingAuthenticationToken"),
    Flaw.INCOMPLETE: (400, "IncompleteSignature"),
    Flaw.SCOPE: (403, "SignatureDoesNotMatch"),
    Flaw.DATE: (403, "SignatureDoesNotMatch"),
}


def verify(
    request: WireRequest, issued: Iterable[Issued], region: str, now: datetime
) -> Issued | ServiceError:
    """Whose request this is, among the credentials ``issued``, or STS's refusal."""
    try:
        return _verify(request, issued, region, now)
    except Refusal as refusal:
        return refusal.error


def _verify(request: WireRequest, issued: Iterable[Issued], region: str, now: datetime) -> Issued:
    try:
        # AWS's SDK for JavaScript v2 leaves the content type unsigned, and STS takes its word.
        envelope = sigv4.open_envelope(
            request, region=region, service="sts", now=now, signs_content_type=False
        )
    except sigv4.NotProperlySigned as problem:
        status, code = _REFUSALS[problem.flaw]
        raise _refused(status, code, str(problem)) from None
    if envelope.algorithm != "AWS4-HMAC-SHA256":
        raise _refused(400, "IncompleteSignature", f"Unsupported {envelope.algorithm}")
    caller = callers.holder(request, envelope, issued)
    if caller is None:
        raise _refused(
            403, "InvalidClientTokenId", "The security token included in the request is invalid."
        )
    if not callers.signed(caller, envelope, sigv4.string_to_sign(request, envelope)):
        raise _refused(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )
    if now >= caller.session.expires:
        raise _refused(403, "ExpiredToken", "The security token included in the request is expired")
    _check_action(request)
    return caller


def _check_action(request: WireRequest) -> None:
    form = request.body.decode("latin-1") if request.method == "POST" else request.query
    action = parse_qs(form).get("Action")
    if request.path != "/" or action != ["GetCallerIdentity"]:
        raise _refused(400, "InvalidAction", f"Could not find operation {action}")


def _refused(status: int, code: str, message: str) -> Refusal:
    return Refusal(ServiceError(status, code, message))


def identity_xml(caller: Issued, request_id: str) -> str:
    """GetCallerIdentity's answer."""
    session = caller.session
    result = _elements(
        UserId=session.assumed_role_id, Account=session.role.account, Arn=session.assumed_role_arn
    )
    return (
        f'<GetCallerIdentityResponse xmlns="{NAMESPACE}">'
        f"<GetCallerIdentityResult>{result}</GetCallerIdentityResult>"
        f"<ResponseMetadata>{_elements(RequestId=request_id)}</ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )


def error_xml(error: ServiceError, request_id: str) -> str:
    """STS's way to say no."""
    detail = _elements(Type="Sender", Code=error.code, Message=error.message)
    return (
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{detail}</Error>'
        f"{_elements(RequestId=request_id)}</ErrorResponse>"
    )


def _elements(**texts: str) -> str:
    return "".join(f"<{name}>{escape(text)}</{name}>" for name, text in texts.items())
