"""Every real client on both endpoints of one sidecar, which starts late and outlives sessions.

One run for all of them, since most of it is waiting: for programs to load, and for a session to
end. What each client said is kept; never judged here.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority
from tests.fakes.sessions import Issued
from tests.fakes.world import small_world
from tests.support import clients
from tests.support.clients import Client, Command, Said, Word
from tests.support.ports import free_port
from tests.support.sidecars import a_sidecar
from tests.support.tools import ToolMissing
from tests.support.workloads import Workload

T = TypeVar("T")
Endpoint: TypeAlias = Literal["container", "imds"]
Pair: TypeAlias = tuple[str, Endpoint]
ENDPOINTS: Final[Sequence[Endpoint]] = ("container", "imds")

# A session's length in seconds. Renewed soon after its half, it is never served with less than 16
# left: below 15, AWS's SDK for JavaScript v2 trips over a logger that it has not.
LIFE_SECONDS: Final = 40

# The sidecar starts this long after the first question.
LATE_SECONDS: Final = 0.5

# Programs that load at the same time: more would make each other late.
LOADING: Final = 3

# How often an application that fails tries again with the same client, and then with new ones, and
# how long it waits before.
PATIENT_RETRIES: Final = 3
MORE_RETRIES: Final = 3
RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one client said on one endpoint.

    ``early`` before the sidecar was there; ``first`` when it was content at last; ``later``, and
    by a new client ``anew``, from ``asked_later`` on, after the first session's end.
    """

    version: str
    early: Said
    first: Said
    later: Said
    anew: Said
    asked_later: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """All findings, why some clients could not be had, the sessions by key id, and the log."""

    findings: Mapping[Pair, Finding]
    missing: Mapping[str, str]
    sessions: Mapping[str, Issued]
    log: str


async def play(folder: Path) -> Outcome:
    """The whole run, a minute long."""
    root = Authority.root(at=utc_now())
    world = small_world(root.certificate, duration_seconds=LIFE_SECONDS)
    workload = Workload.below(root, folder)
    commands, missing = _commands()
    async with FakeAWS.start(world) as aws, AsyncExitStack() as stack:
        port = free_port()
        # As after a restart of the sidecar's container: the port is gone, the token is not.
        (folder / "token").write_text("t" * 43)
        loaded = await _load(stack, commands, _told(aws, port, folder), folder)
        impatient = asyncio.create_task(_all(loaded, lambda _, client: client.ask()))
        await asyncio.sleep(LATE_SECONDS)
        env = workload.env(aws.rolesanywhere_url) | {"ROLESANYWHERE_PORT": str(port)}
        sidecar = await stack.enter_async_context(a_sidecar(folder, env))
        early = await impatient
        first = await _all(loaded, lambda pair, client: _content(client, early[pair]))
        await _until_over(aws, {said.key for said in first.values()})
        at = utc_now()
        later = await _all(loaded, lambda _, client: client.ask())
        anew = await _all(loaded, lambda _, client: client.ask("anew"))
        findings = {
            pair: Finding(client.version, early[pair], first[pair], later[pair], anew[pair], at)
            for pair, client in loaded.items()
        }
        sessions = {issued.access_key_id: issued for issued in aws.sessions}
        return Outcome(findings, missing, sessions, sidecar.log)


def _commands() -> tuple[dict[str, Command], dict[str, str]]:
    """How to start each client, and why some cannot be had."""
    commands: dict[str, Command] = {}
    missing: dict[str, str] = {}
    for name, command in clients.COMMANDS.items():
        try:
            commands[name] = command()
        except ToolMissing as reason:
            missing[name] = str(reason)
    return commands, missing


def _told(aws: FakeAWS, port: int, folder: Path) -> Mapping[Endpoint, Mapping[str, str]]:
    """What a client's environment says about each endpoint."""
    common = clients.surroundings(aws)
    return {
        "container": {**common, **clients.container_credentials(port, folder / "token")},
        "imds": {**common, **clients.metadata_service(port)},
    }


async def _load(
    stack: AsyncExitStack,
    commands: Mapping[str, Command],
    told: Mapping[Endpoint, Mapping[str, str]],
    folder: Path,
) -> Mapping[Pair, Client]:
    """Each client twice, loaded and waiting to be asked."""
    gate = asyncio.Semaphore(LOADING)

    async def load(pair: Pair) -> Client:
        name, endpoint = pair
        home = folder / f"{name}-{endpoint}"
        home.mkdir()
        async with gate:
            program = clients.started(commands[name], told[endpoint], folder=home)
            return await stack.enter_async_context(program)

    pairs: list[Pair] = [(name, endpoint) for name in commands for endpoint in ENDPOINTS]
    return await _together(pairs, load)


async def _all(
    loaded: Mapping[Pair, Client], ask: Callable[[Pair, Client], Coroutine[Any, Any, Said]]
) -> Mapping[Pair, Said]:
    """What all of them say at the same time."""
    return await _together(loaded, lambda pair: ask(pair, loaded[pair]))


async def _together(
    pairs: Iterable[Pair], work: Callable[[Pair], Coroutine[Any, Any, T]]
) -> Mapping[Pair, T]:
    """What ``work`` gives for each; where one fails the others end, and with them their clients."""
    async with asyncio.TaskGroup() as group:
        working = {pair: group.create_task(work(pair)) for pair in pairs}
    return {pair: task.result() for pair, task in working.items()}


async def _content(client: Client, said: Said) -> Said:
    """What the client says at last, as it is asked again for as long as it fails."""
    words: Sequence[Word] = ("again",) * PATIENT_RETRIES + ("anew",) * MORE_RETRIES
    for word in words:
        if not said.error:
            break
        await asyncio.sleep(RETRY_SECONDS)
        said = await client.ask(word)
    return said


async def _until_over(aws: FakeAWS, keys: Iterable[str]) -> None:
    """Wait until the sessions of ``keys`` have ended."""
    known = {issued.access_key_id: issued.session.expires for issued in aws.sessions}
    ends = [known[key] for key in keys if key in known]
    left = (max(ends, default=utc_now()) - utc_now()).total_seconds()
    await asyncio.sleep(max(left, 0) + 0.1)
