"""The test command: every tier in order, then a line per tier of what ran and what did not.

    python -m tests.run [TIER ...]

Runs all tiers though an early one fails; exits 1 if any failed. Told to end, it ends what it
started and starts nothing more. Never decides what may be skipped: that is
`tests.support.tools`, and under ``CI=true`` nothing may.
"""

import os
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.children import Children, Interrupted, interruptible

ROOT: Final = Path(__file__).parent.parent
BIN: Final = Path(sys.executable).parent

UNIT: Final = (
    "tests/contract",
    "tests/sidecar",
    "tests/operator",
    "tests/unit_fakes",
    "tests/test_architecture.py",
    "tests/test_images.py",
    "tests/test_reference.py",
    "tests/test_troubleshooting.py",
)

COMMANDS: Final[Mapping[str, Sequence[Sequence[str]]]] = {
    "lint": (("ruff", "check", "--quiet"), ("ruff", "format", "--check", "--quiet")),
    "types": (("mypy",),),
    "imports": (("lint-imports",),),
}
TESTS: Final[Mapping[str, Sequence[str]]] = {
    "unit": UNIT,
    "integration": ("tests/integration", "tests/chart"),
    "control-plane": ("tests/control_plane",),
    "hardware": ("tests/hardware",),
    "e2e": ("tests/e2e",),
}
# A cluster is more than most runs want, but never too much for CI; ``E2E=1`` asks for it.
ON_REQUEST: Final = frozenset({"e2e"})
# A machine of many cores has not memory for as many control planes.
CORES: Final = min(len(os.sched_getaffinity(0)), 8)
# How many processes share a tier's tests: more than cores where tests mostly wait. Each has session
# fixtures of its own, such as a control plane. A tier that is not named here has one process.
WORKERS: Final[Mapping[str, int]] = {
    "unit": CORES,
    "integration": CORES * 2,
    "control-plane": CORES + 1,
    "hardware": CORES * 2,
    # A cluster each, of 2 GB.
    "e2e": min(CORES, 2),
}
# These build tools first, once for each version and machine.
BUILDING: Final = frozenset({"integration", "control-plane", "hardware", "e2e"})
# These run beside the tiers of tests, which leave a core to them now and then.
BESIDE: Final = frozenset({"types"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one tier went; ``skipped`` counts tests by the reason they gave."""

    tier: str
    passed: int
    failed: int
    seconds: float
    skipped: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{self.passed} passed"]
        parts += [f"{self.failed} FAILED"] if self.failed else []
        parts += [f"{count} skipped ({reason})" for reason, count in self.skipped.items()]
        return f"{self.tier:14} {self.seconds:6.1f} s  {', '.join(parts)}"


def run_commands(tier: str, children: Children, output: Path | None = None) -> Outcome:
    """Run a tier of plain commands: each is one check. Their words go to ``output``, if given."""
    started = time.monotonic()
    codes = [
        children.run([BIN / program, *arguments], output=output)
        for program, *arguments in COMMANDS[tier]
    ]
    failed = sum(code != 0 for code in codes)
    return Outcome(tier, len(codes) - failed, failed, time.monotonic() - started)


def run_tests(tier: str, children: Children) -> Outcome:
    """Run a tier of pytest folders and read its report."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        code = children.run([*command, *shared(WORKERS.get(tier, 1)), *TESTS[tier]])
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []  # noqa: S314 - our own report
    failed = sum(
        case.find("failure") is not None or case.find("error") is not None for case in cases
    )
    reasons = [skip.get("message", "") for case in cases for skip in case.iter("skipped")]
    passed = len(cases) - failed - len(reasons)
    # A run that broke before its first test is a failure that no test case tells of.
    failed = max(failed, int(code != 0))
    return Outcome(tier, passed, failed, time.monotonic() - started, Counter(reasons))


def shared(workers: int) -> Sequence[str]:
    """The options that share tests among so many processes."""
    if workers < 2:
        return []
    ways = ("--dist=loadscope", "--no-loadscope-reorder", "-p", "tests.support.sharing")
    return [f"--numprocesses={workers}", *ways]


def run_all(tiers: Sequence[str], children: Children) -> Iterator[Outcome]:
    """Run ``tiers`` in order, but for those beside; what these say is printed at the end."""
    if BUILDING & set(tiers):
        heading("tools")
        children.run([sys.executable, "-m", "tests.toolbox", *tiers])
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as threads, children:
        beside = {
            tier: threads.submit(run_commands, tier, children, Path(folder) / tier)
            for tier in tiers
            if tier in BESIDE
        }
        for tier in tiers:
            if tier not in beside:
                heading(tier)
                run_tier = run_commands if tier in COMMANDS else run_tests
                yield run_tier(tier, children)
        for tier, running in beside.items():
            outcome = running.result()
            heading(tier)
            print((Path(folder) / tier).read_text(), end="", flush=True)
            yield outcome


def heading(text: str) -> None:
    """Begin a part of the output, before a child writes there."""
    print(f"\n== {text}", flush=True)


def run(tiers: Sequence[str]) -> int:
    """Run ``tiers``, print the summary, return the exit code."""
    outcomes: dict[str, Outcome] = {}
    interrupted = 0
    with interruptible():
        try:
            for outcome in run_all(tiers, Children(ROOT)):
                outcomes[outcome.tier] = outcome
        except Interrupted as by:
            interrupted = by.exit_code
    heading("summary")
    for tier in tiers:
        print(outcomes.get(tier) or f"{tier:14} interrupted")
    for tier in sorted(ON_REQUEST - set(tiers)):
        print(f"{tier:14} left out: make {tier}, or {tier.upper()}=1 with the others")
    return interrupted or verdict(outcomes.values())


def verdict(outcomes: Collection[Outcome]) -> int:
    """The exit code, with a last line that says why."""
    passed, failed = (sum(getattr(one, of) for one in outcomes) for of in ("passed", "failed"))
    skipped = sum(sum(outcome.skipped.values()) for outcome in outcomes)
    forbidden = skipped if os.environ.get("CI") == "true" else 0
    if forbidden:
        print(f"CI forbids skipping, and {forbidden} tests were skipped")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed + forbidden > 0)


def main(arguments: Sequence[str]) -> int:
    """Run the tiers named, or all that need no asking."""
    known = [*COMMANDS, *TESTS]
    if unknown := set(arguments) - set(known):
        print(f"no such tier: {', '.join(sorted(unknown))}; expected some of {', '.join(known)}")
        return 2
    return run(arguments or by_default(os.environ))


def by_default(env: Mapping[str, str]) -> Sequence[str]:
    """The tiers of a run that names none."""
    asked = env.get("CI") == "true" or env.get("E2E") == "1"
    return [tier for tier in (*COMMANDS, *TESTS) if asked or tier not in ON_REQUEST]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
