"""Each thing that is measured, as a function from a contender to numbers.

Judges nothing and prints nothing. What a measure starts, it ends.
"""

import asyncio
import compileall
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from tests.bench.contenders import Contender, Endpoint, Running, Stage, serving
from tests.bench.processes import Cores, Memory, cpu_seconds, finished, memory
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.faults import Delay
from tests.fakes.pki import Authority
from tests.fakes.world import small_world
from tests.support.commands import Outcome
from tests.support.gotools import build
from tests.support.workloads import Workload

ROOT: Final = Path(__file__).parents[2]

# Far above what is asked here: what is measured is what is asked, not what is granted.
_UNLIMITED: Final = 10_000.0

_WARM_UP_SECONDS: Final = 0.5

# Seconds that the pretended CreateSession takes, so that callers have time to meet.
_SERVICE_SECONDS: Final = 0.3


# Seconds for a short session to be renewed.
_PATIENCE_SECONDS: Final = 60.0


class MeasureFailed(Exception):
    """Something could not be measured; the text says what it was, and why."""


@dataclass(frozen=True, slots=True)
class Times:
    """Of several runs, in seconds."""

    median: float
    worst: float

    @classmethod
    def of(cls, runs: Sequence[float]) -> "Times":
        return cls(statistics.median(runs), max(runs))


@dataclass(frozen=True, slots=True)
class Load:
    """Answers per second, how long they took, and what CPU each cost, in milliseconds."""

    per_second: float
    p50: float
    p99: float
    cpu: float


@dataclass(frozen=True, slots=True)
class UnderLoad:
    """One endpoint under each kind of load."""

    endpoint: str
    alone: Load
    together: Load
    steady: Load


@asynccontextmanager
async def a_stage(*, life: int = 3600) -> AsyncIterator[Stage]:
    """A new AWS and a new workload in a folder that goes away; sessions last ``life`` seconds."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        root = Authority.root(at=utc_now())
        world = small_world(root.certificate, duration_seconds=life, create_session_rate=_UNLIMITED)
        async with FakeAWS.start(world, tls_folder=folder) as aws:
            yield Stage(aws, Workload.below(root, folder))


def load_generator() -> Path:
    """The program that puts load on an endpoint. Raises `ToolMissing`."""
    return build("load", "rolesanywhere.dev/tests/tools/load")


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from exec to the first good answer, and of CPU until then."""

    wall: float
    cpu: float


async def start(contender: Contender, *, core: int) -> Start:
    """Until IMDSv2 answers, which both offer."""
    async with a_stage() as stage, serving(contender, stage, core=core) as running:
        wall = await running.first_answer(contender.endpoints[-1])
        return Start(wall, cpu_seconds(running.pid))


async def load(
    running: Running,
    endpoint: Endpoint,
    *,
    core: int,
    connections: int,
    seconds: float,
    rate: float = 0,
) -> Load:
    """``endpoint`` under load from ``core``; a ``rate`` of 0 is as much as it can take."""
    command: list[str | Path] = [
        load_generator(),
        "-address", f"127.0.0.1:{running.port}", "-path", endpoint.path, "-expect", "AccessKeyId",
        "-connections", str(connections), "-rate", str(rate),
        "-duration", f"{seconds}s", "-warm-up", f"{min(_WARM_UP_SECONDS, seconds)}s",
    ]  # fmt: skip
    for name, value in (await endpoint.headers(running)).items():
        command += ["-header", f"{name}: {value}"]
    before = cpu_seconds(running.pid)
    report = _printed(await finished(command, {"GOMAXPROCS": "1"}, core=core), by="load")
    spent = cpu_seconds(running.pid) - before
    if report["failures"] or not report["requests"]:
        raise MeasureFailed(
            f"{running.contender.name}, {endpoint.name}: {report['failures']} of {connections}"
            f" connections failed: {report.get('failure', 'nothing was answered')}"
        )
    return Load(
        per_second=report["requests"] / report["seconds"],
        p50=report["p50_us"] / 1000,
        p99=report["p99_us"] / 1000,
        cpu=1000 * spent / report["asked"],
    )


async def under_load(
    running: Running, endpoint: Endpoint, *, core: int, seconds: float, steady_seconds: float
) -> UnderLoad:
    """As fast as it can over 1 and over 16 connections, and at a steady 100 requests a second."""
    return UnderLoad(
        endpoint=endpoint.name,
        alone=await load(running, endpoint, core=core, connections=1, seconds=seconds),
        together=await load(running, endpoint, core=core, connections=16, seconds=seconds),
        steady=await load(
            running, endpoint, core=core, connections=4, seconds=steady_seconds, rate=100
        ),
    )


async def crowd(contender: Contender, *, count: int, cores: Cores) -> Memory:
    """What ``count`` of them hold together, each after some load."""
    async with a_stage() as stage, AsyncExitStack() as stack:
        all_of_them = [
            await stack.enter_async_context(serving(contender, stage, core=cores.measured))
            for _ in range(count)
        ]
        for running in all_of_them:
            for endpoint in contender.endpoints:
                await running.first_answer(endpoint)
                await load(
                    running, endpoint, core=cores.measuring, connections=4, seconds=0.1
                )  # fmt: skip
        held = [memory(running.pid) for running in all_of_them]
    return Memory(sum(one.resident for one in held), sum(one.proportional for one in held))


async def idle(running: Sequence[Running], *, seconds: float) -> list[float]:
    """CPU seconds that each takes while nobody asks anything for so long."""
    before = [cpu_seconds(one.pid) for one in running]
    await asyncio.sleep(seconds)
    return [cpu_seconds(one.pid) - was for one, was in zip(running, before, strict=True)]


async def calls_at_expiry(contender: Contender, *, callers: int, core: int) -> int:
    """CreateSession calls while ``callers`` ask at once, again and again, across a renewal.

    The first session is short, and those after it last an hour.
    """
    endpoint = contender.endpoints[-1]
    async with (
        a_stage(life=contender.short_life) as stage,
        serving(contender, stage, core=core) as running,
    ):
        await running.first_answer(endpoint)
        account = stage.aws.account
        [root] = account.world.trust_anchors.values()
        account.world = small_world(root.certificates[0], create_session_rate=_UNLIMITED)
        stage.aws.faults.always(Delay(_SERVICE_SECONDS))
        first, before = stage.aws.sessions[-1].access_key_id, len(stage.aws.requests)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        served = {first}
        while served & {first, ""}:
            served = set(await asyncio.gather(*[running.answer(endpoint) for _ in range(callers)]))
            if time.monotonic() > deadline:
                raise MeasureFailed(f"{contender.name} never renewed a short session")
            await asyncio.sleep(0.05)
        return len(stage.aws.requests) - before


@dataclass(frozen=True, slots=True)
class OneShots:
    """Runs of ``credential-process``, one after another, and CreateSession calls they made."""

    times: Times
    calls: int


async def one_shots(
    contender: Contender, *, runs: int, core: int, session_file: bool = False
) -> OneShots:
    """With ``session_file``, which AWS's helper does not have, the runs share one session."""
    async with a_stage() as stage:
        env = dict(contender.env(stage))
        if session_file:
            env["ROLESANYWHERE_SESSION_FILE"] = str(stage.workload.folder / "session")
        times = []
        for _ in range(runs):
            since = time.perf_counter()
            outcome = await finished(contender.credential_process(stage), env, core=core)
            times.append(time.perf_counter() - since)
            _printed(outcome, by=contender.name)
        return OneShots(Times.of(times), len(stage.aws.requests))


def size_of_ours() -> int:
    """Bytes that the sidecar's image adds: locked requirements and packages, with bytecode."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        app = Path(name)
        for requirement in _locked_requirements():
            for file in metadata.files(requirement) or ():
                if ".." not in file.parts and "__pycache__" not in file.parts:
                    _copy(Path(str(file.locate())), app / file)
        for package in ("rolesanywhere_contract", "rolesanywhere_sidecar"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / "sidecar" / package, app / package, ignore=ignored)
        compileall.compile_dir(app, quiet=2)
        return sum(path.stat().st_size for path in app.rglob("*") if path.is_file())


def size_of(binary: Path) -> int:
    """Bytes of a program that is one file."""
    return binary.stat().st_size


def compile_ours() -> None:
    """Bytecode for all that ``serve`` imports, as the image has it."""
    compileall.compile_dir(ROOT / "sidecar", quiet=2)


def _printed(outcome: Outcome, *, by: str) -> dict[str, Any]:
    """The JSON that a command printed. Raises `MeasureFailed` with what it complained of."""
    if outcome.status != 0:
        raise MeasureFailed(f"{by} ended with status {outcome.status}: {outcome.errors.strip()}")
    return outcome.document()


def _locked_requirements() -> list[str]:
    lines = (ROOT / "requirements" / "sidecar.txt").read_text().splitlines()
    return [line.partition("==")[0] for line in lines if "==" in line and line[0].isalpha()]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
