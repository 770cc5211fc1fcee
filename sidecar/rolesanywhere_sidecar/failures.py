"""Why CreateSession gave no session: one class for each thing to do about it.

    ServiceFailure
    ├─ AccessDenied            the service understood, and says no
    ├─ ValidationFailed        the service says that the request is malformed
    ├─ ResourceNotFound        no such trust anchor or profile there
    ├─ Rejected                another refusal, named by the service
    ├─ Throttled               (retryable) too many sessions a second
    ├─ ServiceUnavailable      (retryable) the service failed
    ├─ EndpointUnreachable     (retryable) no answer at all
    └─ InvalidReply            (retryable) an answer that is not the service's

Never quotes a reply but for the service's own error message, and of that no more than 256
characters. No I/O.
"""

import re
from collections.abc import Mapping
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError

LONGEST_QUOTE: Final = 256


class ServiceFailure(RolesAnywhereError):
    """CreateSession failed; each way to fail is a class below, with the code.

    ``retry_after`` is the service's own wish, in seconds.
    """

    def __init__(self, problem: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(problem, hint=hint)
        self.retry_after = retry_after


class AccessDenied(ServiceFailure):
    """The service does not accept this identity, or not for this role."""

    code = "AccessDenied"


class ValidationFailed(ServiceFailure):
    """The service finds the request malformed."""

    code = "ValidationFailed"


class ResourceNotFound(ServiceFailure):
    """The trust anchor or the profile does not exist in that account and region."""

    code = "ResourceNotFound"


class Rejected(ServiceFailure):
    """A refusal that the service's model does not name."""

    code = "Rejected"


class Throttled(ServiceFailure):
    """More sessions a second than the account may ask for."""

    code = "Throttled"
    retryable = True


class ServiceUnavailable(ServiceFailure):
    """The service, or something before it, failed."""

    code = "ServiceUnavailable"
    retryable = True


class EndpointUnreachable(ServiceFailure):
    """Name, network, TLS or proxy kept us from an answer."""

    code = "EndpointUnreachable"
    retryable = True


class InvalidReply(ServiceFailure):
    """What came back is not what the service documents."""

    code = "InvalidReply"
    retryable = True


# The codes by which AWS's services say "too fast", as its SDKs know them (SDKs and Tools Reference
# Guide, "Retry behavior"): a proxy or a gateway before the service may use any of them.
_TOO_FAST: Final = (
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
)

# Error codes of the service's model (CreateSession, "Errors"), and those that mean "too fast".
_BY_CODE: Final[Mapping[str, type[ServiceFailure]]] = {
    "AccessDeniedException": AccessDenied,
    "ValidationException": ValidationFailed,
    "ResourceNotFoundException": ResourceNotFound,
    **dict.fromkeys(_TOO_FAST, Throttled),
}

# What the service says, and what to do about it. It words all of these as AccessDenied, with no
# more than this to go by; the first that matches counts.
_HINTS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), hint)
    for pattern, hint in (
        (
            "untrusted signing certificate",
            "the certificate does not chain to the trust anchor: add the missing intermediates,"
            " or check that the trust anchor holds the CA that issued it",
        ),
        (
            "invalid signature",
            "check that the private key is the certificate's, and that no proxy changes the"
            " request's headers",
        ),
        (
            "not authorized to set rolesessionname",
            "let the profile accept custom session names (acceptRoleSessionName), or set none",
        ),
        (
            "attributes? fail",
            "session tags allow letters, digits, spaces and _.:/=+-@ only: change the named"
            " certificate fields, or the profile's attribute mappings",
        ),
        (
            r"certificate.*revoked|revoked.*certificate",
            "the certificate is on a CRL of the trust anchor: issue a new one",
        ),
        (
            r"(not a|not in|not .*) role .*profile|role.*(not|isn't).*profile",
            "add the role to the profile's roles",
        ),
        (
            "maxsessionduration",
            "ask for less with --session-duration, or raise the role's maximum session duration",
        ),
        (
            "packed ?(policy|size)",
            "the certificate's names are too long together for session tags: shorten them, or map"
            " fewer in the profile's attribute mappings",
        ),
        (
            "unable to assume role|not authorized to perform: sts:",
            "the role's trust policy must let rolesanywhere.amazonaws.com do sts:AssumeRole,"
            " sts:TagSession and sts:SetSourceIdentity for this trust anchor and certificate",
        ),
        (
            "disabled",
            "enable the trust anchor and the profile",
        ),
        (
            "expired|not yet (valid|current)|clock|skew",
            "check the certificate's validity and this machine's clock",
        ),
    )
)

_WITHOUT_WORDS: Final[Mapping[type[ServiceFailure], str]] = {
    AccessDenied: "check trust anchor, profile, the role's trust policy and the certificate",
    ValidationFailed: "check the ARNs, the duration and the session name",
    ResourceNotFound: "check that trust anchor and profile exist in that account and region",
    Throttled: "an account may create 10 sessions a second in a region unless AWS raises the quota",
}


def failure_class(status: int, code: str) -> type[ServiceFailure]:
    """What an error reply with this HTTP status and service error code is."""
    if known := _BY_CODE.get(code):
        return known
    if status == 429:
        return Throttled
    if status >= 500 or code.startswith("RequestTimeout"):
        return ServiceUnavailable
    return Rejected if code else InvalidReply


def hint_for(failure: type[ServiceFailure], message: str) -> str:
    """What to do about a failure that the service explains with ``message``."""
    for pattern, hint in _HINTS:
        if pattern.search(message):
            return hint
    return _WITHOUT_WORDS.get(failure, "")


def quoted(text: str) -> str:
    """``text`` on one line, printable, and short enough for a log."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST_QUOTE else line[: LONGEST_QUOTE - 1] + "…"
