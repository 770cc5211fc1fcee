"""All programs at work for a while, as a dashboard would watch them: with load, and with trouble.

Real processes on a real API server; AWS is pretended, and sessions are so short that many fit in.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from tests.cluster.kubectl import KubectlFailed
from tests.cluster.programs import Program
from tests.cluster.relay import repeated
from tests.cluster.selfserving import Creator, SelfServing
from tests.fakes import faults
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority
from tests.fakes.world import small_world
from tests.hardware.scenes import a_scene
from tests.hardware.tokens import Token
from tests.operator.builders import a_raw_binding
from tests.support import sidecars
from tests.support.prometheus import Scrape, now
from tests.support.sidecars import RunningSidecar, a_sidecar
from tests.support.waiting import eventually
from tests.support.workloads import Workload

SCRAPE_SECONDS: Final = 1.0
LIFE_SECONDS: Final = 24
CLOCK_OFF: Final = timedelta(seconds=40)


@dataclass
class Watch:
    """Who is watched, by the names of pods, and what they said so far."""

    namespace: str
    programs: dict[str, Program] = field(default_factory=dict)
    sidecars: dict[str, RunningSidecar] = field(default_factory=dict)
    scrapes: list[Scrape] = field(default_factory=list)

    async def scrape(self) -> None:
        """Ask everybody once; who does not answer is left out, as Prometheus does."""
        programs = (
            self._keep("aws", pod, asyncio.to_thread(program.probe, "/metrics"))
            for pod, program in self.programs.items()
        )
        sidecars = (
            self._keep(self.namespace, pod, sidecar.probe("/metrics"))
            for pod, sidecar in self.sidecars.items()
        )
        await asyncio.gather(*programs, *sidecars)

    async def _keep(self, namespace: str, pod: str, answer: Awaitable[tuple[int, str]]) -> None:
        at = now()
        status, text = await answer
        if status == 200:
            self.scrapes.append(Scrape(at, {"namespace": namespace, "pod": pod}, text))


async def afternoon(
    release: SelfServing, users: str, token: Token, folder: Path, *, seconds: float
) -> Sequence[Scrape]:
    """What was scraped in ``seconds`` of work, of which AWS throttles everybody in the third fifth.

    ``users`` is a namespace; ``token`` holds the key of one of three sidecars.
    """
    watch = Watch(users)
    async with AsyncExitStack() as stack:
        stack.enter_context(_pods_are_made(release, users, watch))
        services = [
            await _files(stack, watch, folder),
            await _hardware(stack, watch, folder, token),
        ]
        await stack.enter_async_context(_always(watch.scrape, SCRAPE_SECONDS))
        await asyncio.sleep(seconds * 2 / 5)
        for aws in services:
            aws.faults.always(faults.throttled())
        await asyncio.sleep(seconds / 5)
        # On a busy machine a renewal may be due later than that.
        await sidecars.eventually(
            partial(_all_were_throttled, services), what=lambda: "renewals that are throttled"
        )
        for aws in services:
            aws.faults.clear()
        await asyncio.sleep(seconds * 2 / 5)
    return watch.scrapes


async def _all_were_throttled(services: Sequence[FakeAWS]) -> bool:
    return all(any(one.fault for one in aws.requests) for aws in services)


@contextmanager
def _pods_are_made(release: SelfServing, users: str, watch: Watch) -> Iterator[None]:
    """Pods that are injected, others that are refused, and a binding that cannot be ready."""
    _bind(release, "reports", users)
    asks = {"certManager": {"issuerRef": {"name": "ca", "kind": "ClusterIssuer"}}}
    elsewhere = {"matchLabels": {"app": "ledger"}}
    _bind(release, "ledger", users, podSelector=elsewhere, identity=asks)
    for number in range(2):
        watch.programs[f"controller-{number}"] = release.controller()
        watch.programs[f"webhook-{number}"] = release.webhook(number)
    started = watch.programs.values()
    eventually("all are ready", lambda: all(program.is_ready for program in started), within=90)
    creator = Creator(release.control_plane, users, name="reports")

    def ask_badly() -> None:
        with suppress(KubectlFailed):
            release.control_plane.kubectl(
                "run", "bad", f"--namespace={users}", "--image=none", "--dry-run=server",
                "--annotations=rolesanywhere.dev/inject=perhaps",
            )  # fmt: skip

    with ExitStack() as working:
        working.enter_context(repeated(creator.create, 0.2))
        working.enter_context(repeated(ask_badly, 2.0))
        yield


def _bind(release: SelfServing, name: str, namespace: str, **spec: object) -> None:
    binding = a_raw_binding(name, namespace, **spec)
    del binding["metadata"]["generation"]
    release.control_plane.apply(json.dumps(binding), namespace=namespace)


async def _files(stack: AsyncExitStack, watch: Watch, folder: Path) -> FakeAWS:
    """Two sidecars whose identities are files, at an AWS whose clock is ahead."""
    root = Authority.root(at=utc_now())
    world = small_world(root.certificate, duration_seconds=LIFE_SECONDS)
    aws = await stack.enter_async_context(FakeAWS.start(world, clock=lambda: utc_now() + CLOCK_OFF))
    for number in range(2):
        home = folder / f"files-{number}"
        home.mkdir()
        env = Workload.below(root, home).env(aws.rolesanywhere_url)
        sidecar = await stack.enter_async_context(a_sidecar(home, env))
        await _joins(stack, watch, f"reports-{number}", sidecar, (home / "token").read_text)
    return aws


async def _hardware(stack: AsyncExitStack, watch: Watch, folder: Path, token: Token) -> FakeAWS:
    """A sidecar whose key is in a token."""
    home = folder / "hardware"
    home.mkdir()
    scene = await stack.enter_async_context(a_scene(token, home, life=LIFE_SECONDS))
    sidecar = await stack.enter_async_context(a_sidecar(home, scene.env()))
    await _joins(stack, watch, "vault-0", sidecar, scene.token_file.read_text)
    return scene.aws


async def _joins(
    stack: AsyncExitStack, watch: Watch, pod: str, sidecar: RunningSidecar, held: Callable[[], str]
) -> None:
    """Its application asks for credentials all the time."""
    await sidecar.until_ready()
    token = held()
    await stack.enter_async_context(_always(lambda: sidecar.credentials(token), 0.2))
    watch.sidecars[pod] = sidecar


@asynccontextmanager
async def _always(work: Callable[[], Awaitable[object]], seconds: float) -> AsyncIterator[None]:
    """Do ``work`` every so many ``seconds`` for the length of the block, and never fail."""

    async def loop() -> None:
        while True:
            await work()
            await asyncio.sleep(seconds)

    working = asyncio.create_task(loop())
    try:
        yield
        assert not working.done(), working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
