"""What the doctor finds: a verdict on one check, in a sentence, with what to do.

The words of checks are for scripts and never change once released. Never looks at anything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"  # it may work, but not as it should, or not for long
    FAILURE = "failure"  # it does not work
    SKIPPED = "skipped"  # something before it makes the check impossible


class Check(StrEnum):
    """Everything that is looked at, in the order in which it is told."""

    SETTINGS = "settings"
    ARNS = "arns"
    ROLE_ACCOUNT = "role-account"
    SESSION_REQUEST = "session-request"
    ENDPOINT = "endpoint"
    PROXY = "proxy"
    DELIVERY = "delivery"
    CERTIFICATE_FILE = "certificate-file"
    PRIVATE_KEY_FILE = "private-key-file"
    INTERMEDIATES_FILE = "intermediates-file"
    PASSWORD_FILE = "password-file"  # noqa: S105 - the word for a check
    PIN_FILE = "pin-file"
    TOKEN_FILE = "token-file"  # noqa: S105 - the word for a check
    SESSION_FILE = "session-file"
    PIN_LATCH_FILE = "pin-latch-file"
    CA_BUNDLE = "ca-bundle"
    MODULE = "module"
    TOKEN = "token"  # noqa: S105 - the word for a check
    PIN = "pin"
    CERTIFICATE = "certificate"
    PRIVATE_KEY = "private-key"
    KEY_MATCH = "key-match"
    CHAIN = "chain"
    VALIDITY = "validity"
    CHAIN_VALIDITY = "chain-validity"
    X509_VERSION = "x509-version"
    BASIC_CONSTRAINTS = "basic-constraints"
    KEY_USAGE = "key-usage"
    EXTENDED_KEY_USAGE = "extended-key-usage"
    SIGNATURE_HASH = "signature-hash"
    KEY_TYPE = "key-type"
    SESSION_TAGS = "session-tags"
    PACKED_TAGS = "packed-tags"
    PORT = "port"
    PROBE_PORT = "probe-port"
    DNS = "dns"
    TCP = "tcp"
    TLS = "tls"
    CLOCK = "clock"
    CREATE_SESSION = "create-session"
    SESSION_LENGTH = "session-length"
    DEADLINE = "deadline"


# Each group is headed by its name, and goes from its first check to the next group's.
GROUPS: Final[Mapping[Check, str]] = {
    Check.SETTINGS: "Settings",
    Check.CERTIFICATE_FILE: "Files",
    Check.MODULE: "Hardware",
    Check.CERTIFICATE: "Identity",
    Check.PORT: "Ports",
    Check.DNS: "AWS",
    Check.DEADLINE: "Time",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``remedy`` says what to do about a warning or a failure."""

    verdict: Verdict
    check: Check
    sentence: str
    remedy: str = ""


def ok(check: Check, sentence: str) -> Finding:
    """All is well, and this is what was seen."""
    return Finding(Verdict.OK, check, sentence)


def warning(check: Check, sentence: str, remedy: str) -> Finding:
    """It may work, but."""
    return Finding(Verdict.WARNING, check, sentence, remedy)


def failure(check: Check, sentence: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(Verdict.FAILURE, check, sentence, remedy)


def skipped(check: Check, reason: str) -> Finding:
    """It could not be looked at."""
    return Finding(Verdict.SKIPPED, check, reason)


def exit_code(findings: Iterable[Finding]) -> int:
    """0 when nothing fails, warnings or not; 1 when something does."""
    return int(any(finding.verdict is Verdict.FAILURE for finding in findings))


def group_of(check: Check) -> str:
    """The group that ``check`` is told in."""
    name = ""
    for each in Check:
        name = GROUPS.get(each, name)
        if each is check:
            break
    return name
