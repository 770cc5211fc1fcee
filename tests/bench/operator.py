"""``make bench-operator``: the webhook under load, and the controller in a full cluster.

    python -m tests.bench.operator [--quick] [--write docs/performance.md]

Prints two tables and writes nothing into the checkout unless told to. Loopback alone; takes about
three minutes.
"""

import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.bench import bindings, report, reviews
from tests.bench.bindings import Calls, Settled
from tests.bench.command import Benchmark, preamble
from tests.bench.measures import Times, load_generator
from tests.bench.processes import Cores, on_core
from tests.bench.reviews import UnderLoad
from tests.cluster.binaries import Binaries, find_or_build
from tests.cluster.control_plane import ControlPlane
from tests.cluster.release import CRD

BENCHMARK: Final = Benchmark("bench-operator", within=900.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of each; ``QUICK`` shows that it works, and its numbers say nothing."""

    load_seconds: float = 5.0
    bindings: int = 500
    pods: int = 10_000
    changes: int = 20


QUICK: Final = Plan(load_seconds=1.0, bindings=10, pods=20, changes=2)


async def measure(plan: Plan, binaries: Binaries) -> str:
    """The whole report, each part with a control plane of its own."""
    cores = Cores.of_this_machine()
    with on_core(cores.measuring):
        where = preamble(cores)
        BENCHMARK.say("asking the webhook")
        with _cluster(binaries) as control_plane:
            loaded = await reviews.under_load(control_plane, cores, seconds=plan.load_seconds)
    BENCHMARK.say(f"filling a cluster with {plan.bindings:,} bindings and {plan.pods:,} pods")
    with _cluster(binaries) as control_plane:
        settled = await bindings.settled(
            control_plane, bindings=plan.bindings, pods=plan.pods, changes=plan.changes
        )
    return "\n\n".join([
        where,
        report.measured(_of_the_webhook(loaded), what="webhook, reviews of 10 KB over TLS"),
        report.measured(_of_the_controller(settled, plan), what="controller"),
    ])  # fmt: skip


@contextmanager
def _cluster(binaries: Binaries) -> Iterator[ControlPlane]:
    """A control plane that knows bindings."""
    with ControlPlane.start(binaries) as started:
        started.apply(CRD.read_text())
        started.kubectl("wait", "--for=condition=Established", f"--filename={CRD}", "--timeout=30s")
        yield started


def _of_the_webhook(found: UnderLoad) -> Sequence[tuple[str, str, str]]:
    return [
        ("1 connection: rate, p50 / p99", report.throughput(found.alone), ""),
        ("16 connections: rate, p50 / p99", report.throughput(found.together),
         "≥ 3,000/s, p99 < 10 ms"),
        ("16 connections: CPU for each", f"{found.together.cpu:.3f} ms", "< 0.333 ms"),
        ("memory before load, resident / proportional", report.memory(found.before), ""),
        ("memory after load, resident / proportional", report.memory(found.after),
         "< 60 MiB resident"),
    ]  # fmt: skip


def _of_the_controller(found: Settled, plan: Plan) -> Sequence[tuple[str, str, str]]:
    cluster = f"{plan.bindings:,} bindings, {plan.pods:,} injected pods"
    return [
        (f"{cluster}: from start until all are judged", f"{found.all_of_them:.1f} s", ""),
        (f"{cluster}: memory, resident / proportional", report.memory(found.memory),
         "< 200 MiB resident"),
        (f"a changed binding is settled, median of {plan.changes} (worst)",
         report.seconds(Times.of(found.changes)), "< 2 s"),
        ("calls on the API server for one change", _told(found.calls), "constant"),
    ]  # fmt: skip


def _told(calls: Sequence[Calls]) -> str:
    """Each way that a change went, and how often."""
    ways = [
        ", ".join(f"{count} {verb} {resource}" for (verb, resource), count in sorted(one.items()))
        for one in calls
    ]
    return "; ".join(f"{way or 'none'} ({ways.count(way)} times)" for way in sorted(set(ways)))


def main(arguments: Sequence[str]) -> int:
    """Run, print, and write where told to; 1 when it cannot."""
    asked = BENCHMARK.flags(__doc__).parse_args(arguments)

    def measuring() -> Coroutine[None, None, str]:
        binaries = find_or_build()
        load_generator()
        return measure(QUICK if asked.quick else Plan(), binaries)

    return BENCHMARK.conclude(measuring, asked.write)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
