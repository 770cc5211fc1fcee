"""``make bench-sidecar``: ours and AWS's helper, side by side in one run.

    python -m tests.bench.sidecar [--quick] [--idle-seconds N] [--write docs/performance.md]

Prints a table and writes nothing into the checkout unless told to. Loopback alone; takes about
three minutes, one of which is idle.
"""

import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.bench import measures, report
from tests.bench.command import Benchmark, preamble
from tests.bench.contenders import Contender, ours, serving, the_helper
from tests.bench.measures import OneShots, Times, UnderLoad
from tests.bench.processes import Cores, Memory, memory, on_core
from tests.bench.report import NOT_OFFERED, Row
from tests.fakes import aws_helper

# A run takes three minutes.
BENCHMARK: Final = Benchmark("bench-sidecar", within=600.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of each; ``QUICK`` shows that it works, and its numbers say nothing."""

    starts: int = 7
    load_seconds: float = 3.0
    steady_seconds: float = 6.0
    idle_seconds: float = 60.0
    crowd: int = 10
    callers: int = 100
    one_shots: int = 20


QUICK: Final = Plan(
    starts=1,
    # A busy machine lets a pinned program wait for longer than a short measure takes.
    load_seconds=1.0,
    steady_seconds=1.0,
    idle_seconds=0.2,
    crowd=2,
    callers=5,
    one_shots=2,
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything about one contender alone."""

    starts: Times
    starting_cpu: Times
    under_load: Sequence[UnderLoad]
    memory: Memory
    crowd: Memory
    calls_at_expiry: int
    one_shots: OneShots
    bytes_on_disk: int


async def measure(contender: Contender, plan: Plan, cores: Cores, *, size: int) -> Measured:
    starts = [await measures.start(contender, core=cores.measured) for _ in range(plan.starts)]
    async with (
        measures.a_stage() as stage,
        serving(contender, stage, core=cores.measured) as running,
    ):
        await running.first_answer(contender.endpoints[-1])
        under_load = [
            await measures.under_load(
                running, endpoint, core=cores.measuring,
                seconds=plan.load_seconds, steady_seconds=plan.steady_seconds,
            )
            for endpoint in contender.endpoints
        ]  # fmt: skip
        after_load = memory(running.pid)
    return Measured(
        starts=Times.of([one.wall for one in starts]),
        starting_cpu=Times.of([one.cpu for one in starts]),
        under_load=under_load,
        memory=after_load,
        crowd=await measures.crowd(contender, count=plan.crowd, cores=cores),
        calls_at_expiry=await measures.calls_at_expiry(
            contender, callers=plan.callers, core=cores.measured
        ),
        one_shots=await measures.one_shots(contender, runs=plan.one_shots, core=cores.measured),
        bytes_on_disk=size,
    )


async def measure_idle(
    contenders: Sequence[Contender], plan: Plan, cores: Cores
) -> Sequence[float]:
    """CPU seconds of each while all of them have nothing to do."""
    async with measures.a_stage() as stage, AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(serving(one, stage, core=cores.measured))
            for one in contenders
        ]
        for one in running:
            await one.first_answer(one.contender.endpoints[-1])
        return await measures.idle(running, seconds=plan.idle_seconds)


async def compare(plan: Plan, binary: Path) -> str:
    """The whole report, made from the core that nobody is measured on."""
    cores = Cores.of_this_machine()
    with on_core(cores.measuring):
        return await _compare(plan, binary, cores)


async def _compare(plan: Plan, binary: Path, cores: Cores) -> str:
    where = preamble(cores)
    measures.compile_ours()
    us, them = ours(), the_helper(binary)
    sizes = (measures.size_of_ours(), measures.size_of(binary))
    found = []
    for contender, size in zip((us, them), sizes, strict=True):
        BENCHMARK.say(f"measuring {contender.name}")
        found.append(await measure(contender, plan, cores, size=size))
    BENCHMARK.say(f"leaving both alone for {plan.idle_seconds:g} seconds")
    idle = await measure_idle((us, them), plan, cores)
    shared = await measures.one_shots(
        us, runs=plan.one_shots, core=cores.measured, session_file=True
    )
    mine, theirs = found
    rows = _rows(mine, theirs, plan, idle=idle, shared=shared)
    return f"{where}\n\n{report.table(rows, ours=us.name, theirs=them.name)}"


def _rows(
    mine: Measured, theirs: Measured, plan: Plan, *, idle: Sequence[float], shared: OneShots
) -> list[Row]:
    each = f"median of {plan.starts} (worst)"
    return [
        Row(
            f"exec to first good answer, {each}",
            report.seconds(mine.starts), report.seconds(theirs.starts), "< 0.6 s",
        ),
        Row(
            "CPU until then",
            report.seconds(mine.starting_cpu), report.seconds(theirs.starting_cpu),
        ),
        *_load_rows(mine, theirs),
        Row(
            "memory after load, resident / proportional",
            report.memory(mine.memory), report.memory(theirs.memory), "< 45 MiB resident",
        ),
        Row(
            f"memory of {plan.crowd} at once, proportional",
            report.mebibytes(mine.crowd.proportional), report.mebibytes(theirs.crowd.proportional),
        ),
        Row(
            f"CPU in {plan.idle_seconds:g} s of being idle",
            f"{idle[0]:.2f} s", f"{idle[1]:.2f} s",
        ),
        Row(
            f"CreateSession calls by {plan.callers} callers at an expiry",
            str(mine.calls_at_expiry), str(theirs.calls_at_expiry), "1",
        ),
        Row(
            f"credential-process, median of {plan.one_shots} (worst)",
            report.one_shots(mine.one_shots), report.one_shots(theirs.one_shots),
        ),
        Row(
            f"the same with a session file, median of {plan.one_shots} (worst)",
            report.one_shots(shared), NOT_OFFERED, "1 CreateSession",
        ),
        Row(
            "on disk, without Python",
            report.mebibytes(mine.bytes_on_disk / 1024),
            report.mebibytes(theirs.bytes_on_disk / 1024),
        ),
    ]  # fmt: skip


def _load_rows(mine: Measured, theirs: Measured) -> list[Row]:
    """Four rows for each endpoint of ours; the other has only the one that both call IMDSv2."""
    theirs_by_name = {one.endpoint: one for one in theirs.under_load}
    rows = []
    for one in mine.under_load:
        other = theirs_by_name.get(one.endpoint)
        rows += [
            Row(
                f"{one.endpoint}, {measure}",
                told(one),
                told(other) if other else NOT_OFFERED,
                aim,
            )
            for measure, told, aim in _WAYS
        ]
    return rows


_WAYS: Final[Sequence[tuple[str, Callable[[UnderLoad], str], str]]] = (
    ("1 connection: rate, p50 / p99", lambda one: report.throughput(one.alone), ""),
    ("16 connections: rate, p50 / p99", lambda one: report.throughput(one.together), "≥ 3,000/s"),
    ("16 connections: CPU for each", lambda one: f"{one.together.cpu:.3f} ms", "< 0.333 ms"),
    ("100 requests/s: p50 / p99", lambda one: report.latency(one.steady), "p99 < 5 ms"),
)


def main(arguments: Sequence[str]) -> int:
    """Run, print, and write where told to; 1 when it cannot."""
    parser = BENCHMARK.flags(__doc__)
    parser.add_argument("--idle-seconds", type=float, help="how long both are left alone")
    asked = parser.parse_args(arguments)
    plan = QUICK if asked.quick else Plan()
    if asked.idle_seconds is not None:
        plan = replace(plan, idle_seconds=asked.idle_seconds)

    def measuring() -> Coroutine[None, None, str]:
        binary = aws_helper.find_or_build()
        measures.load_generator()
        return compare(plan, binary)

    return BENCHMARK.conclude(measuring, asked.write)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
