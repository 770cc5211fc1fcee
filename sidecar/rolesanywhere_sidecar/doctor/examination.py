"""The whole examination: one check after the other, each bounded, each going on where it can.

Decides what a failure makes impossible. Prints nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from rolesanywhere_sidecar.clock import Skew
from rolesanywhere_sidecar.doctor import (
    asking,
    coherence,
    hardware,
    journey,
    places,
    ports,
    specimen,
)
from rolesanywhere_sidecar.doctor.coherence import Told
from rolesanywhere_sidecar.doctor.findings import Check, Finding, Verdict, failure, ok, skipped
from rolesanywhere_sidecar.doctor.hardware import Seen
from rolesanywhere_sidecar.doctor.network import way_to
from rolesanywhere_sidecar.identities import sources, token_identity
from rolesanywhere_sidecar.service.proxies import proxy_for
from rolesanywhere_sidecar.service.trust import InvalidCABundle, Trust

# The steps' own limits add up to less; this is for what nobody foresaw.
WHOLE_SECONDS: Final = 28.0
FILES_SECONDS: Final = 3.0
# A token's calls bound themselves below that.
TOKEN_SECONDS: Final = token_identity.PATIENCE_SECONDS
SESSION_SECONDS: Final = 10.0

# A failure of these is why CreateSession need not be asked: we would not, or it would refuse.
_NEEDED: Final = frozenset(
    {
        Check.SETTINGS, Check.PROXY, Check.CA_BUNDLE, Check.CERTIFICATE_FILE,
        Check.PRIVATE_KEY_FILE, Check.INTERMEDIATES_FILE, Check.PASSWORD_FILE, Check.PIN_FILE,
        Check.PIN_LATCH_FILE, Check.MODULE, Check.TOKEN, Check.PIN, Check.CERTIFICATE,
        Check.PRIVATE_KEY, Check.KEY_MATCH, Check.VALIDITY, Check.X509_VERSION,
        Check.BASIC_CONSTRAINTS, Check.KEY_USAGE, Check.SIGNATURE_HASH, Check.KEY_TYPE, Check.DNS,
        Check.TCP, Check.TLS,
    }
)  # fmt: skip


@dataclass(slots=True)
class Examination:
    """One run. ``env`` tells of proxies and pods, ``now`` returns aware times."""

    told: Told
    env: Mapping[str, str]
    now: Callable[[], datetime]
    offline: bool = False
    _found: list[Finding] = field(default_factory=list)
    _skew: Skew = field(default_factory=Skew)
    _certificate_ends: datetime | None = None
    _seen: Seen | None = None

    async def findings(self) -> AsyncIterator[Finding]:
        """Each as soon as it is known; the last within `WHOLE_SECONDS`, whatever hangs."""
        deadline = asyncio.get_running_loop().time() + WHOLE_SECONDS
        steps = [self._settings, self._files, self._hardware, self._identity, self._ports]
        if not self.offline:
            steps += [self._network, self._session]
        for step in steps:
            try:
                async with asyncio.timeout_at(deadline):
                    found = await step()
            except TimeoutError:
                found = [_too_long(WHOLE_SECONDS)]
            for finding in found:
                yield finding
            self._found += found

    async def _settings(self) -> Sequence[Finding]:
        return list(coherence.examine(self.told, self.env))

    async def _files(self) -> Sequence[Finding]:
        return await _gathered(
            lambda: [*places.examine(self.told.values, self.env), *self._ca_bundle()]
        )

    def _ca_bundle(self) -> Iterator[Finding]:
        bundle = self.told.values["ca_bundle"]
        if bundle is None:
            return
        try:
            held = Trust(bundle).context().cert_store_stats()["x509"]
        except InvalidCABundle as wrong:
            yield failure(Check.CA_BUNDLE, wrong.problem, wrong.hint)
        else:
            yield ok(Check.CA_BUNDLE, f"the CA bundle {bundle} holds {held} certificate(s)")

    async def _hardware(self) -> Sequence[Finding]:
        settings = specimen.settings_of(self.told.values)
        if settings is None or not sources.in_a_token(settings):
            return []
        try:
            async with asyncio.timeout(TOKEN_SECONDS):
                self._seen = await asyncio.to_thread(hardware.look, settings, self.env)
        except TimeoutError:
            return [_too_long(TOKEN_SECONDS)]
        return list(hardware.judge(self._seen)) if self._seen else []

    async def _identity(self) -> Sequence[Finding]:
        limit = TOKEN_SECONDS if self._seen else FILES_SECONDS
        unreachable = self._seen.problem if self._seen else None
        try:
            async with asyncio.timeout(limit):
                taken = await specimen.take(self.told.values, env=self.env, unreachable=unreachable)
                with contextlib.closing(taken):
                    found = await specimen.examine(taken, at=self.now())
        except TimeoutError:
            return [_too_long(limit)]
        self._certificate_ends = taken.leaf.not_valid_after_utc if taken.leaf else None
        if self._seen is None:
            return found
        return [hardware.judge_pin(self._seen, taken.key_problem or taken.problem), *found]

    async def _ports(self) -> Sequence[Finding]:
        return await _gathered(lambda: list(ports.examine(self.told.values)))

    async def _network(self) -> Sequence[Finding]:
        url = coherence.service_url(self.told)
        missing = self._failed & {Check.PROXY, Check.CA_BUNDLE}
        if url is None or missing:
            reason = _until(missing) if missing else "the endpoint is not known"
            return [skipped(check, reason) for check in journey.STEPS]
        bundle = self.told.values["ca_bundle"]
        context = await asyncio.to_thread(Trust(bundle).context)
        way = way_to(url, proxy=proxy_for(url, self.env), context=context)
        return await journey.examine(way, ca_bundle=bundle, now=self.now, skew=self._skew)

    async def _session(self) -> Sequence[Finding]:
        missing = self._failed & _NEEDED
        if Check.CLOCK in self._failed:
            # By the service's time, which is now known, it may be valid.
            missing -= {Check.VALIDITY}
        settings = self.told.settings
        if settings is None or missing:
            return [skipped(Check.CREATE_SESSION, _until(missing))]
        try:
            async with asyncio.timeout(SESSION_SECONDS):
                answer = await asking.ask(settings, now=self.now, env=self.env, skew=self._skew)
        except TimeoutError:
            answer = asking.Answer(problem=asking.no_answer(SESSION_SECONDS))
        return asking.judge(answer, settings, certificate_ends=self._certificate_ends)

    @property
    def _failed(self) -> frozenset[Check]:
        return frozenset(
            finding.check for finding in self._found if finding.verdict is Verdict.FAILURE
        )


def _until(checks: Iterable[Check]) -> str:
    held = set(checks)
    return f"not until {', '.join(check for check in Check if check in held)} is mended"


async def _gathered(look: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    """What ``look``, which may block, finds in a thread."""
    try:
        async with asyncio.timeout(FILES_SECONDS + 2 * ports.ANSWER_SECONDS):
            return await asyncio.to_thread(look)
    except TimeoutError:
        return [_too_long(FILES_SECONDS)]


def _too_long(seconds: float) -> Finding:
    return failure(
        Check.DEADLINE,
        f"a step did not end within {seconds:g} seconds",
        "look at what the step before the last line touches: a volume or a name server that hangs",
    )
