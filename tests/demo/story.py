"""How the demo tells its story: numbered steps, and checks that fail loudly.

Knows nothing of what is told. A step that raises is named in the summary and ends the story.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from textwrap import indent
from typing import TextIO


class ClaimFailed(Exception):
    """A step did not happen as told."""


@dataclass(frozen=True, slots=True)
class _Step:
    title: str
    seconds: float
    failed: bool


@dataclass(slots=True)
class Story:
    """Writes to ``out``; ``now`` is a monotonic clock in seconds."""

    out: TextIO
    now: Callable[[], float] = time.monotonic
    _steps: list[_Step] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Tell one step; whatever it raises goes on after it was noted."""
        print(f"\n{len(self._steps) + 1}. {title}", file=self.out, flush=True)
        started, failed = self.now(), True
        try:
            yield
            failed = False
        finally:
            self._steps.append(_Step(title, self.now() - started, failed))

    def say(self, text: str) -> None:
        """A sentence, or lines, below the step."""
        print(indent(text, "   "), file=self.out, flush=True)

    def show(self, text: str) -> None:
        """What something printed, set apart."""
        print(indent(text.rstrip(), "   │ "), file=self.out, flush=True)

    def check(self, claim: str, holds: bool, *, otherwise: str = "") -> None:
        """State a claim that was just seen to hold. Raises `ClaimFailed` when it does not."""
        if not holds:
            raise ClaimFailed(f"{claim}: not so{f', {otherwise}' if otherwise else ''}")
        print(f"   ✓ {claim}", file=self.out, flush=True)

    def summary(self) -> str:
        """A line for each step, with its seconds."""
        lines = [
            f"{'FAILED' if step.failed else 'ok':6} {step.seconds:5.1f} s  {number}. {step.title}"
            for number, step in enumerate(self._steps, start=1)
        ]
        return "\n".join(lines)
