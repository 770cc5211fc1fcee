"""The test command: every tier in order, then a line per tier of what ran and what did not.

    python -m tests.run [TIER ...]

Runs all tiers though an early one fails; exits 1 if any failed. Never decides what may be
skipped: that is `tests.support.tools`, and under ``CI=true`` nothing may.
"""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

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
}
# These build tools first, once for each version and machine.
BUILDING: Final = frozenset({"integration", "control-plane", "hardware"})


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


def run_commands(tier: str) -> Outcome:
    """Run a tier of plain commands: each is one check."""
    started = time.monotonic()
    codes = [
        subprocess.run([BIN / program, *arguments], cwd=ROOT, check=False).returncode
        for program, *arguments in COMMANDS[tier]
    ]
    failed = sum(code != 0 for code in codes)
    return Outcome(tier, len(codes) - failed, failed, time.monotonic() - started)


def run_tests(tier: str) -> Outcome:
    """Run a tier of pytest folders and read its report."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *TESTS[tier]]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []  # noqa: S314 - our own report
    failed = sum(
        case.find("failure") is not None or case.find("error") is not None for case in cases
    )
    reasons = [skip.get("message", "") for case in cases for skip in case.iter("skipped")]
    passed = len(cases) - failed - len(reasons)
    # A run that broke before its first test is a failure that no test case tells of.
    failed = max(failed, int(code != 0))
    return Outcome(tier, passed, failed, time.monotonic() - started, Counter(reasons))


def run(tiers: Sequence[str]) -> int:
    """Run ``tiers`` in order, print the summary, return the exit code."""
    outcomes: list[Outcome] = []
    if BUILDING & set(tiers):
        print("\n== tools", flush=True)
        subprocess.run([sys.executable, "-m", "tests.toolbox"], cwd=ROOT, check=False)
    for tier in tiers:
        print(f"\n== {tier}", flush=True)
        outcomes.append(run_commands(tier) if tier in COMMANDS else run_tests(tier))
    print("\n== summary")
    for outcome in outcomes:
        print(outcome)
    skipped = sum(sum(outcome.skipped.values()) for outcome in outcomes)
    forbidden = skipped if os.environ.get("CI") == "true" else 0
    if forbidden:
        print(f"CI forbids skipping, and {forbidden} tests were skipped")
    failed = sum(outcome.failed for outcome in outcomes)
    print(
        f"{sum(outcome.passed for outcome in outcomes)} passed, {failed} failed, {skipped} skipped"
    )
    return int(failed + forbidden > 0)


def main(arguments: Sequence[str]) -> int:
    """Run the tiers named, or all of them."""
    known = [*COMMANDS, *TESTS]
    if unknown := set(arguments) - set(known):
        print(f"no such tier: {', '.join(sorted(unknown))}; expected some of {', '.join(known)}")
        return 2
    return run(arguments or known)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
