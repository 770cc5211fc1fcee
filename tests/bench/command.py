"""What each benchmark is as a command: its flags, its words, its limit and how it ends.

Measures nothing.
"""

import argparse
import asyncio
import os
import platform
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import report
from tests.bench.contenders import NoAnswer
from tests.bench.measures import MeasureFailed
from tests.bench.processes import Cores
from tests.support.tools import ToolMissing


@dataclass(frozen=True, slots=True)
class Benchmark:
    """``make NAME``; something hangs that takes longer than ``within`` seconds."""

    name: str
    within: float

    def say(self, progress: str) -> None:
        """Tell who waits, apart from what is printed at the end."""
        print(f"{self.name}: {progress}", file=sys.stderr, flush=True)

    def flags(self, description: str | None) -> argparse.ArgumentParser:
        """The flags that all have."""
        parser = argparse.ArgumentParser(prog=f"make {self.name}", description=description)
        parser.add_argument("--quick", action="store_true", help="show that it works, in seconds")
        parser.add_argument("--write", type=Path, metavar="PAGE", help="also put the tables there")
        return parser

    def conclude(
        self, measuring: Callable[[], Coroutine[None, None, str]], page: Path | None
    ) -> int:
        """Run, print, and write to ``page`` where there is one; 1 when it cannot."""
        try:
            found = asyncio.run(self._bounded(measuring()))
            if page:
                report.write(found, page, by=self.name)
        except (ToolMissing, NoAnswer, MeasureFailed, ValueError) as problem:
            self.say(str(problem))
            return 1
        print(found)
        return 0

    async def _bounded(self, comparison: Coroutine[None, None, str]) -> str:
        """``comparison``, which ends what it has started also when it takes too long."""
        try:
            async with asyncio.timeout(self.within):
                return await comparison
        except TimeoutError:
            raise MeasureFailed(f"not finished after {self.within:g} seconds") from None


def preamble(cores: Cores) -> str:
    """Where and how, for whoever reads the numbers elsewhere."""
    where = (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()},"
        f" {os.cpu_count()} cores, Python {platform.python_version()}."
        f" Load average of the machine before it began: {os.getloadavg()[0]:.1f}."
    )
    if cores.measured == cores.measuring:
        return f"{where} There is but one core: the load shares it with what is measured."
    return (
        f"{where} Each program ran on core {cores.measured} alone,"
        f" and what asked it on core {cores.measuring}."
    )
