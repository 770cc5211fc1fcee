"""Findings of the doctor as a test wants to ask about them."""

from collections.abc import Iterable

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.doctor.coherence import Told
from rolesanywhere_sidecar.doctor.findings import Check, Finding, Verdict
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN

OK, WARNING, FAILURE, SKIPPED = Verdict

SETTINGS = {
    "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
    "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
    "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
    "ROLESANYWHERE_CERTIFICATE": "/identity/tls.crt",
}


def told(**settings: str) -> Told:
    """What the doctor is told when the environment has ``settings`` beside `SETTINGS`."""
    named = {f"ROLESANYWHERE_{name.upper()}": value for name, value in settings.items()}
    try:
        return Told.of(Settings.from_env(SETTINGS | named))
    except InvalidSettings as wrong:
        return Told.of(wrong)


def of(findings: Iterable[Finding], check: Check) -> Finding:
    """The one finding of ``check``."""
    [found] = [finding for finding in findings if finding.check is check]
    return found


def troubles(findings: Iterable[Finding]) -> list[tuple[Verdict, Check]]:
    """All that is not well, in order."""
    return [(finding.verdict, finding.check) for finding in findings if finding.verdict is not OK]
