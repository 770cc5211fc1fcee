"""Every fault of the AWS endpoint that the sidecar must survive, each against the real ``serve``.

`FAULTS` is the list. Each is a story: the sidecar meets the fault with nothing to serve, says why,
and heals; then it meets it again when its session ages, serves on what is still valid, says why,
and heals. All the while a client asks, and is never given what is blank or expired.

Most of a story is waiting, so they are told side by side. ``tests/sidecar/test_outages.py`` has
the faults that last for minutes, under a clock of its own.
"""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.fakes import faults
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.line import Line
from tests.fakes.pki import Authority
from tests.fakes.world import small_world
from tests.support.sidecars import RunningSidecar, a_sidecar, eventually
from tests.support.workloads import Workload

# Seconds. The service lets no session be so short; this way one ages while a test waits.
SHORT_LIFE: Final = 12

# Two cores start so many sidecars without keeping each other waiting.
AT_ONCE: Final = 14

# Seconds for what takes the sidecar's longest back-off after a first failure, and some.
PATIENCE: Final = 50.0

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True, slots=True)
class Scenery:
    """One story's AWS, the line that leads to it, and the workload that needs it."""

    aws: FakeAWS
    line: Line
    impostor: str
    workload: Workload

    async def heal(self) -> None:
        self.aws.faults.clear()
        await self.line.mend()


@dataclass(frozen=True, slots=True)
class Fault:
    """What ``strikes``, and what the sidecar is to say of it: a code, and words by pattern.

    ``lasting``: it waits for somebody to act, so its back-off is long; whoever has acted says so
    with a SIGHUP.
    """

    name: str
    strikes: Callable[[Scenery], Awaitable[None]]
    code: str
    says: str
    lasting: bool = False


def answers(fault: faults.Fault) -> Callable[[Scenery], Awaitable[None]]:
    """The service itself is at fault."""

    async def strike(scenery: Scenery) -> None:
        scenery.aws.faults.always(fault)

    return strike


UNREACHABLE: Final = "EndpointUnreachable"
THROTTLED: Final = "Throttled"
UNAVAILABLE: Final = "ServiceUnavailable"
INVALID: Final = "InvalidReply"

FAULTS: Final = (
    # The line
    Fault("refused", lambda it: it.line.refuse(), UNREACHABLE, "Connection refused"),
    Fault(
        "black hole: no connection", lambda it: it.line.black_hole(), UNREACHABLE,
        "no connection within 5 seconds",
    ),
    Fault(
        "black hole: a connection, then silence", lambda it: it.line.swallow(), UNREACHABLE,
        "no (connection|answer) within",
    ),
    Fault(
        "black hole: TLS, then silence", answers(faults.Delay(600)), UNREACHABLE,
        "no answer within 15 seconds",
    ),
    Fault("reset instead of an answer", answers(faults.Reset()), UNREACHABLE, "closed|reset"),
    Fault("reset in the middle of the answer", answers(faults.Cut()), UNREACHABLE, "closed|reset"),
    Fault(
        "TLS of an unknown authority", lambda it: it.line.lead_to(it.impostor), UNREACHABLE,
        "TLS certificate is not trusted.*ROLESANYWHERE_CA_BUNDLE",
    ),
    # Too fast: each code that AWS's services use for it, whatever the status
    Fault("429", answers(faults.throttled()), THROTTLED, "429 with ThrottlingException"),
    Fault(
        "429 with Retry-After", answers(faults.throttled(retry_after=2)), THROTTLED,
        "ThrottlingException: Rate exceeded",
    ),
    Fault(
        "429 that names no code", answers(faults.Answer(429, b"{}")), THROTTLED, "answered 429",
    ),
    *(
        Fault(
            f"{status} {code}", answers(faults.throttled(code=code, status=status)), THROTTLED,
            f"{status} with {code}",
        )
        for status, code in (
            (400, "Throttling"),
            (400, "RequestLimitExceeded"),
            (429, "TooManyRequestsException"),
            (503, "SlowDown"),
        )
    ),
    # The service is down
    Fault("500", answers(faults.server_error(500)), UNAVAILABLE, "answered 500 with Internal"),
    Fault("501", answers(faults.server_error(501, as_json=False)), UNAVAILABLE, "answered 501"),
    Fault("502", answers(faults.server_error(502, as_json=False)), UNAVAILABLE, "answered 502"),
    Fault("503", answers(faults.server_error(503)), UNAVAILABLE, "answered 503 with Internal"),
    Fault("504", answers(faults.server_error(504, as_json=False)), UNAVAILABLE, "answered 504"),
    # It says no
    Fault(
        "403", answers(faults.refused("AccessDeniedException", "Untrusted Signing Certificate")),
        "AccessDenied", "Untrusted Signing Certificate.*add the missing intermediates",
        lasting=True,
    ),
    Fault(
        "400 ValidationException",
        answers(faults.refused("ValidationException", "1 validation error", status=400)),
        "ValidationFailed", "400 with ValidationException: 1 validation error", lasting=True,
    ),
    Fault(
        "404 ResourceNotFoundException",
        answers(faults.refused("ResourceNotFoundException", "no such profile", status=404)),
        "ResourceNotFound", "404 with ResourceNotFoundException: no such profile", lasting=True,
    ),
    # It says something else, or somebody does in its place
    Fault(
        "403 of a proxy", answers(faults.Answer(403, b"<html>no</html>")), INVALID,
        "answered 403 with something that is not the service's JSON.*any proxy on the way",
    ),
    Fault("not JSON", answers(faults.garbage()), INVALID, "is not a JSON object"),
    Fault("truncated JSON", answers(faults.truncated()), INVALID, "is not a JSON object"),
    Fault("an empty credentialSet", answers(faults.empty_set()), INVALID, "empty credentialSet"),
    Fault("null credentials", answers(faults.null_credentials()), INVALID, "has no credentials"),
    Fault(
        "an expiration in the past", answers(faults.session(expiration="2020-01-01T00:00:00Z")),
        INVALID, "ended at 2020-01-01",
    ),
    Fault(
        "an expiration of the year 1", answers(faults.session(expiration="0001-01-01T00:00:00Z")),
        INVALID, "ended at 1-01-01|expiration",
    ),
    Fault(
        "a malformed expiration", answers(faults.session(expiration="in an hour")),
        INVALID, "credentials.expiration that is not a time",
    ),
    Fault("blank secrets", answers(faults.session(secretAccessKey="")), INVALID, "blank"),
    Fault("a redirect", answers(faults.redirect()), INVALID, "follows no redirect"),
)  # fmt: skip


@dataclass(slots=True)
class Client:
    """Asks for credentials all the time, as an app would, and remembers what was wrong."""

    sidecar: RunningSidecar
    workload: Workload
    served: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    _valid_until: datetime = field(default_factory=utc_now)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Asks for the length of the block; in the end, any answer that was wrong fails it."""
        asks = asyncio.create_task(self._ask())
        try:
            yield
        finally:
            asks.cancel()
            await asyncio.gather(asks, return_exceptions=True)
        assert self.wrong == []
        assert self.served

    async def _ask(self) -> None:
        while True:
            asked_at = utc_now()
            status, document = await self.sidecar.credentials(self.workload.token)
            self._judge(status, document, asked_at)
            await asyncio.sleep(0.1)

    def _judge(self, status: int, document: Mapping[str, str], asked_at: datetime) -> None:
        if status != 200:
            if self._valid_until > utc_now():
                self.wrong.append(f"{status} while a session is valid until {self._valid_until}")
            if not (document.get("code") and document.get("message")):
                self.wrong.append(f"{status} without a reason: {document}")
            return
        blank = [name for name, value in document.items() if not value]
        expires = datetime.fromisoformat(document["Expiration"])
        if blank or expires <= asked_at:
            self.wrong.append(f"{status} with blank {blank}, until {expires} at {asked_at}")
        self._valid_until = expires
        self.served.add(document["AccessKeyId"])


async def survives(fault: Fault, folder: Path) -> None:
    """The story of one fault."""
    async with a_scenery(folder) as scenery, AsyncExitStack() as stack:
        await fault.strikes(scenery)
        env = scenery.workload.env(scenery.line.url, ca_file=scenery.aws.ca_file)
        sidecar = await stack.enter_async_context(a_sidecar(folder, env))
        await tells(sidecar, 503, fault)
        status, refusal = await sidecar.credentials(scenery.workload.token)
        assert (status, refusal["code"]) == (503, fault.code)
        await heals(scenery, sidecar, fault)
        await sidecar.until_ready()
        client = Client(sidecar, scenery.workload)
        async with client.asking():
            await fault.strikes(scenery)
            await tells(sidecar, 200, fault)
            assert (await sidecar.probe("/livez"))[0] == 200
            await heals(scenery, sidecar, fault)
            await renewed(sidecar, scenery, client)
        is_discreet(sidecar.log, scenery)


@asynccontextmanager
async def a_scenery(folder: Path) -> AsyncIterator[Scenery]:
    root = Authority.root(at=utc_now())
    world = small_world(root.certificate, duration_seconds=SHORT_LIFE)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    async with (
        FakeAWS.start(world, tls_folder=folder) as aws,
        FakeAWS.start(world, tls_folder=elsewhere) as impostor,
        Line.to(aws.rolesanywhere_url) as line,
    ):
        yield Scenery(aws, line, impostor.rolesanywhere_url, Workload.below(root, folder))


async def heals(scenery: Scenery, sidecar: RunningSidecar, fault: Fault) -> None:
    await scenery.heal()
    if fault.lasting:
        sidecar.process.send_signal(signal.SIGHUP)


async def tells(sidecar: RunningSidecar, status: int, fault: Fault) -> None:
    """Readiness says with ``status`` what is wrong; 200 may by then have come to its end."""
    heard: list[str] = []

    async def told() -> bool:
        assert sidecar.process.returncode is None, sidecar.log
        found, sentence = await sidecar.probe("/readyz")
        heard[:] = [f"{found} {sentence}"]
        named = sentence.count("\n") == 1 and f"{fault.code}: " in sentence
        return found in {status, 503} and named and re.search(fault.says, sentence) is not None

    await eventually(told, what=lambda: f"readiness to say it, not {heard}", within=PATIENCE)


async def renewed(sidecar: RunningSidecar, scenery: Scenery, client: Client) -> None:
    """All is well without anybody's help: a session of after the fault, and a plain word for it."""
    before = len(scenery.aws.sessions)

    async def well() -> bool:
        fresh = {one.access_key_id for one in scenery.aws.sessions[before:]}
        return bool(fresh & client.served) and await sidecar.probe("/readyz") == (200, "ready\n")

    await eventually(well, what=lambda: f"a renewal; its log: {sidecar.log}", within=PATIENCE)


def is_discreet(log: str, scenery: Scenery) -> None:
    secrets = [*scenery.workload.secrets(), faults.SECRET_ACCESS_KEY, faults.SESSION_TOKEN]
    for session in scenery.aws.sessions:
        secrets += [session.secret_access_key, session.session_token]
    assert log
    assert [secret for secret in secrets if secret in log] == []


async def learns_the_time(hours: int, folder: Path) -> None:
    """The story of a machine's clock that is ``hours`` behind the service's."""

    def clock() -> datetime:
        return utc_now() + timedelta(hours=hours)

    # Good by both clocks.
    yesterday = utc_now() - timedelta(days=1)
    root = Authority.root(at=yesterday)
    workload = Workload.below(root, folder, at=yesterday)
    world = small_world(root.certificate, duration_seconds=SHORT_LIFE)
    async with (
        FakeAWS.start(world, clock=clock) as aws,
        a_sidecar(folder, workload.env(aws.rolesanywhere_url)) as sidecar,
    ):
        await sidecar.until_ready()
        served: set[str] = set()

        async def renewed() -> bool:
            status, document = await sidecar.credentials(workload.token)
            assert status == 200, document
            granted = {one.access_key_id: one.session.expires for one in aws.sessions}
            assert granted[document["AccessKeyId"]] > clock()
            served.add(document["AccessKeyId"])
            return len(served) > 1

        await eventually(renewed, what=lambda: f"a renewal; its log: {sidecar.log}")
    # One request was in vain, and each after it was signed by the service's clock.
    assert [one.verdict for one in aws.requests] == ["AccessDeniedException", "ok", "ok"]


CLOCKS: Final = {"an hour behind": 1, "an hour ahead": -1}

STORIES: Final[Mapping[str, Callable[[Path], Coroutine[None, None, None]]]] = {
    **{fault.name: partial(survives, fault) for fault in FAULTS},
    **{name: partial(learns_the_time, hours) for name, hours in CLOCKS.items()},
}

Told = Mapping[str, asyncio.Task[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Told]:
    """Those stories whose tests were chosen, told side by side, and the slowest first."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def tell(name: str) -> None:
        async with turns:
            await STORIES[name](tmp_path_factory.mktemp("story"))

    ids = [item.callspec.id for item in request.session.items if hasattr(item, "callspec")]
    slow = {fault.name for fault in FAULTS if "black hole" in fault.name}
    chosen = sorted(STORIES.keys() & ids, key=lambda name: (name not in slow, name))
    tasks = {name: asyncio.create_task(tell(name)) for name in chosen}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS])
async def test_the_sidecar_survives(told: Told, fault: str) -> None:
    await told[fault]


@pytest.mark.parametrize("clock", CLOCKS)
async def test_a_clock_that_is_off_is_learned_from_the_service(told: Told, clock: str) -> None:
    await told[clock]
