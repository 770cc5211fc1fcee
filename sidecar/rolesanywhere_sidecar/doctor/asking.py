"""One CreateSession, by the code that ``serve`` runs, and what became of it.

Of the session nothing is kept but when it ends and whose it is.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.clock import Skew
from rolesanywhere_sidecar.doctor.findings import Check, Finding, failure, ok, warning
from rolesanywhere_sidecar.failures import EndpointUnreachable
from rolesanywhere_sidecar.identities import sources
from rolesanywhere_sidecar.service.rolesanywhere import RolesAnywhere

# What a session may be short of what was asked for: it is counted from when it was granted.
_ROUNDING: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A session's account, assumed role and times; or the ``problem``."""

    account: str = ""
    assumed_role_arn: str = ""
    issued: datetime | None = None
    expires: datetime | None = None
    problem: RolesAnywhereError | None = None


async def ask(
    settings: Settings, *, now: Callable[[], datetime], env: Mapping[str, str], skew: Skew
) -> Answer:
    """Ask once, at the service's time as far as ``skew`` knows it.

    The session is granted and left to expire: there is no way to give it back.
    """
    with closing(sources.source(settings, env=env)) as identity:
        client = RolesAnywhere(settings, identity, now=now, env=env, skew=skew)
        try:
            session = await client.create_session()
        except RolesAnywhereError as problem:
            return Answer(problem=problem)
        finally:
            await client.close()
    return Answer(
        account=session.account_id,
        assumed_role_arn=client.assumed_role_arn or str(settings.role_arn),
        issued=session.issued,
        expires=session.expires,
    )


def no_answer(seconds: float) -> EndpointUnreachable:
    """That ``seconds`` have passed in vain."""
    return EndpointUnreachable(
        f"CreateSession was not answered within {seconds:g} seconds",
        hint="try again; if it stays so, look at proxies and firewalls on the way",
    )


def judge(
    answer: Answer, settings: Settings, *, certificate_ends: datetime | None
) -> list[Finding]:
    """Whether there is a session, and whether it is what was asked for."""
    if answer.expires is None or answer.issued is None:
        problem = answer.problem or RolesAnywhereError("no answer")
        return [
            failure(
                Check.CREATE_SESSION,
                f"{problem.code}: {problem.problem}",
                problem.hint or "see docs/troubleshooting.md for what the service says",
            )
        ]
    return [
        ok(
            Check.CREATE_SESSION,
            f"account {answer.account} granted a session as {answer.assumed_role_arn}",
        ),
        _length(answer.issued, answer.expires, settings, certificate_ends),
    ]


def _length(
    issued: datetime, expires: datetime, settings: Settings, certificate_ends: datetime | None
) -> Finding:
    asked = timedelta(seconds=settings.duration_seconds)
    until = f"the session lasts until {expires:%Y-%m-%d %H:%M:%SZ}"
    if expires - issued < asked - _ROUNDING:
        return warning(
            Check.SESSION_LENGTH,
            f"{until}, {(expires - issued).total_seconds():.0f} seconds, but"
            f" {settings.duration_seconds} were asked for",
            "raise the duration of the profile, or the role's maximum; or ask for less",
        )
    outlives = certificate_ends is not None and expires > certificate_ends
    beyond = ", longer than the certificate, which is allowed" if outlives else ""
    return ok(Check.SESSION_LENGTH, f"{until}{beyond}")
