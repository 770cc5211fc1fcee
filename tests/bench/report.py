"""The benchmark's numbers as a table that people read: one line per measure, ours and theirs.

Formats and never measures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.measures import Load, OneShots, Times
from tests.bench.processes import Memory

NOT_OFFERED: Final = "not offered"

_BEGIN: Final = "<!-- make {by} writes below this line -->"
_END: Final = "<!-- make {by} writes above this line -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One measure; ``aim`` is what ours should reach, if anything was set."""

    measure: str
    ours: str
    theirs: str
    aim: str = ""


def seconds(times: Times) -> str:
    return f"{times.median:.3f} s ({times.worst:.3f})"


def latency(load: Load) -> str:
    return f"{load.p50:.2f} / {load.p99:.2f} ms"


def throughput(load: Load) -> str:
    return f"{load.per_second:,.0f}/s, {latency(load)}"


def mebibytes(kib: float) -> str:
    return f"{kib / 1024:.1f} MiB"


def memory(held: Memory) -> str:
    return f"{mebibytes(held.resident)} / {mebibytes(held.proportional)}"


def one_shots(runs: OneShots) -> str:
    return f"{seconds(runs.times)}, {runs.calls} CreateSession"


def table(rows: Sequence[Row], *, ours: str, theirs: str) -> str:
    """Markdown whose columns line up in a terminal too."""
    return _drawn(
        [("", ours, theirs, "aim"), *((r.measure, r.ours, r.theirs, r.aim) for r in rows)]
    )


def measured(rows: Sequence[tuple[str, str, str]], *, what: str) -> str:
    """The same without anybody beside us: measure, found and aim."""
    return _drawn([(what, "found", "aim"), *rows])


def _drawn(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    drawn = [
        "| "
        + " | ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    return "\n".join([drawn[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *drawn[1:]])


def write(report: str, page: Path, *, by: str) -> None:
    """Put the ``report`` of a make target in its place on ``page``.

    Raises `ValueError` when the page has none.
    """
    text = page.read_text()
    first, last = _BEGIN.format(by=by), _END.format(by=by)
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise ValueError(f"{page} has no lines {first!r} and {last!r} to write between")
    page.write_text(f"{before}{begin}\n\n{report}\n\n{end}{after}")
