"""The report as text for people and as JSON for machines.

Never decides what is good or bad.
"""

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rolesanywhere_sidecar.doctor.findings import Finding, Verdict, group_of
from rolesanywhere_sidecar.version import PROGRAM, VERSION

NARROWEST: Final = 40
USUAL_WIDTH: Final = 80
WIDEST: Final = 100

# Changes when a reader of the JSON would have to.
SCHEMA: Final = 1

_INDENT: Final = " " * 9
_COLOURS: Final[Mapping[Verdict, str]] = {
    Verdict.OK: "32",
    Verdict.WARNING: "33",
    Verdict.FAILURE: "31",
    Verdict.SKIPPED: "2",
}


class Text:
    """Lines for a terminal ``width`` characters wide."""

    def __init__(self, *, width: int = USUAL_WIDTH, colour: bool = False) -> None:
        self._width = min(max(width, NARROWEST), WIDEST)
        self._colour = colour
        self._group = ""

    def lines(self, finding: Finding) -> Iterator[str]:
        """The finding, under its group's heading if it is the group's first."""
        group = group_of(finding.check)
        if group != self._group:
            if self._group:
                yield ""
            yield self._painted(group, "1")
            self._group = group
        first, *more = self._wrapped(f"{finding.check}: {finding.sentence}", first="")
        yield self._painted(f"{finding.verdict:<9}", _COLOURS[finding.verdict]) + first
        yield from (_INDENT + line for line in more)
        if finding.remedy:
            yield from (_INDENT + line for line in self._wrapped(finding.remedy, first="→ "))

    def summary(self, findings: Sequence[Finding]) -> Iterator[str]:
        """How many of each verdict."""
        counts = _counts(findings)
        yield ""
        yield ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)

    def _wrapped(self, text: str, *, first: str) -> list[str]:
        # What is to be copied (a path, an ARN) stays whole, even where it is too long.
        return textwrap.wrap(
            text,
            self._width - len(_INDENT),
            initial_indent=first,
            subsequent_indent=" " * len(first),
            break_long_words=False,
            break_on_hyphens=False,
        )

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text


def document(findings: Sequence[Finding]) -> str:
    """All findings as JSON; its shape is told in docs/troubleshooting.md."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "program": PROGRAM,
            "version": VERSION,
            "verdict": worst(findings),
            "counts": _counts(findings),
            "findings": [
                {
                    "verdict": finding.verdict,
                    "check": finding.check,
                    "sentence": finding.sentence,
                    "remedy": finding.remedy,
                }
                for finding in findings
            ],
        },
        indent=2,
        ensure_ascii=False,
    )


def worst(findings: Iterable[Finding]) -> Verdict:
    """The verdict on all: what was skipped does not count, for something before it failed."""
    verdicts = {finding.verdict for finding in findings}
    ranked = (Verdict.FAILURE, Verdict.WARNING)
    return next((verdict for verdict in ranked if verdict in verdicts), Verdict.OK)


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    counted = Counter(finding.verdict for finding in findings)
    return {verdict: counted[verdict] for verdict in Verdict}
