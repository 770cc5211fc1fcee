"""``make bench-pkcs11``: keys in hardware, by the sidecar, by a module alone and by AWS's helper.

    python -m tests.bench.pkcs11 [--quick] [--write docs/performance.md]

The hardware is a soft HSM and a soft TPM, each of this run's own. Prints tables and writes nothing
into the checkout unless told to. Loopback alone; takes about two minutes.
"""

import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import measures, report, tokens
from tests.bench.command import Benchmark, preamble
from tests.bench.processes import Cores, on_core
from tests.bench.report import Row
from tests.bench.tokens import Contender, Cost, Signing
from tests.fakes import aws_helper
from tests.hardware import faults, packages, softhsm, tpm
from tests.hardware.tokens import DOCUMENT, Token, workshop, written_down
from tests.hardware.tpm import Blueprint
from tests.hardware.workbench import Algorithm
from tests.support.gotools import pinned_version

BENCHMARK: Final = Benchmark("bench-pkcs11", within=600.0)
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("p256", "rsa-2048")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of each; ``QUICK`` shows that it works, and its numbers say nothing."""

    rounds: int = 10
    signatures: int = 200
    signatures_by_tpm: int = 20
    starts: int = 9
    one_shots: int = 20
    renewals: int = 5


QUICK: Final = Plan(rounds=1, signatures=5, signatures_by_tpm=2, starts=1, one_shots=2, renewals=1)


@contextmanager
def hardware() -> Iterator[tuple[Path, Token, Token]]:
    """A folder, an HSM's token and a TPM's."""
    packages.install()
    with workshop() as folder:
        hsm = softhsm.make(folder / "hsm")
        made = tpm.make(folder / "blueprint")
        (folder / "blueprint" / DOCUMENT).write_text(written_down(made))
        with Blueprint(folder / "blueprint").started(folder / "tpm") as running:
            yield folder, hsm, running.token


async def compare(plan: Plan, binary: Path) -> str:
    """The whole report."""
    cores = Cores.of_this_machine()
    with on_core(cores.measuring):
        where = preamble(cores)
        measures.compile_ours()
        with hardware() as (folder, hsm, chip):
            alone = await measure_alone(plan, folder, hsm, chip, cores)
            beside = await measure_beside(plan, binary, folder, hsm, chip, cores)
    return f"{where}\n\n{alone}\n\n{beside}"


async def measure_alone(plan: Plan, folder: Path, hsm: Token, chip: Token, cores: Cores) -> str:
    """The first table: what our way to a token costs."""
    rows = []
    for name, token, count in (
        ("SoftHSM", hsm, plan.signatures),
        ("swtpm", chip, plan.signatures_by_tpm),
    ):
        for algorithm in ALGORITHMS:
            BENCHMARK.say(f"signing with {algorithm} on {name}")
            found = await tokens.signing(
                token, algorithm, folder, rounds=plan.rounds, count=count, core=cores.measured
            )
            rows.append(_signing_row(f"{name}, {algorithm}", found))
    BENCHMARK.say("starting the child")
    first = await tokens.first_signature(hsm, folder, runs=plan.starts, core=cores.measured)
    held = await tokens.child_memory(hsm, folder)
    rows += [
        (
            f"SoftHSM: spawn to first signature, median of {plan.starts} (worst)",
            report.seconds(first), "< 0.5 s",
        ),
        (
            "SoftHSM: memory of the child, resident / proportional",
            report.memory(held), "< 30 MB resident",
        ),
    ]  # fmt: skip
    return report.measured(rows, what="the sidecar and its child")


def _signing_row(what: str, found: Signing) -> tuple[str, str, str]:
    raw, ours = found.raw / 1000, found.ours / 1000
    return (
        f"{what}: module alone / through the child / difference, p50",
        f"{raw:.2f} / {ours:.2f} / {ours - raw:.2f} ms",
        "difference < 1 ms",
    )


async def measure_beside(
    plan: Plan, binary: Path, folder: Path, hsm: Token, chip: Token, cores: Cores
) -> str:
    """The second table: ours and the helper, on the same keys."""
    us = tokens.ours()
    version = pinned_version("aws-helper", aws_helper.PACKAGE)
    them = tokens.the_helper(binary, f"aws_signing_helper {version}")
    rows = []
    for name, token in (("SoftHSM", hsm), ("swtpm", chip)):
        BENCHMARK.say(f"creating sessions with {name}")
        rows += await _beside(name, token, plan, folder, (us, them), cores)
    return report.table(rows, ours=us.name, theirs=them.name)


async def _beside(
    name: str,
    token: Token,
    plan: Plan,
    folder: Path,
    contenders: tuple[Contender, Contender],
    cores: Cores,
) -> list[Row]:
    counted = faults.wrapped(token, folder / f"counted-{name}")
    mine, theirs = [
        await tokens.one_shots(one, counted, folder, runs=plan.one_shots, core=cores.measured)
        for one in contenders
    ]
    renewing = (
        await tokens.our_renewals(counted, folder, count=plan.renewals),
        await tokens.renewals_of_helper(contenders[1], counted, folder, count=plan.renewals),
    )
    return [
        Row(
            f"{name}: credential-process, median of {plan.one_shots} (worst)",
            report.seconds(mine.times), report.seconds(theirs.times),
        ),
        Row(
            f"{name}: of that in its module, signatures, logins",
            _cost(mine.cost), _cost(theirs.cost),
        ),
        Row(
            f"{name}: the same of a renewal by serve",
            _cost(renewing[0]), _cost(renewing[1]), "1 signature, 0 logins",
        ),
    ]  # fmt: skip


def _cost(cost: Cost) -> str:
    return f"{1000 * cost.in_module:.1f} ms, {cost.signatures:g}, {cost.logins:g}"


def main(arguments: Sequence[str]) -> int:
    """Run, print, and write where told to; 1 when it cannot."""
    asked = BENCHMARK.flags(__doc__).parse_args(arguments)

    def measuring() -> Coroutine[None, None, str]:
        binary = aws_helper.find_or_build()
        faults.find_or_build()
        return compare(QUICK if asked.quick else Plan(), binary)

    return BENCHMARK.conclude(measuring, asked.write)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
