"""What Prometheus would make of programs that run: their metrics scraped, and queries over them.

The scrapes are ours; parsing, storing and evaluating are Prometheus' own, built as promtool is.
"""

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from tests.support.gotools import build

# Without the libraries of a dozen clouds, which find targets.
TAGS: Final = ("remove_all_sd",)
TIMEOUT_SECONDS: Final = 120.0

Labels: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scrape:
    """What a program said ``at`` a time, in seconds since 1970, and the labels of where."""

    at: float
    labels: Labels
    text: str


@dataclass(frozen=True, slots=True)
class Series:
    """One answer to a query: times in seconds since 1970, and a value at each."""

    labels: Labels
    points: Sequence[tuple[float, float]]


def promtool() -> Path:
    """Prometheus' tool for rules. Raises `ToolMissing`."""
    return build("promtool", "github.com/prometheus/prometheus/cmd/promtool", tags=TAGS)


def evaluator() -> Path:
    """Our program around Prometheus' engine. Raises `ToolMissing`."""
    return build("promql", "rolesanywhere.dev/tests/tools/promql", tags=TAGS)


def answers(
    scrapes: Sequence[Scrape], queries: Sequence[str], *, step: float = 1.0
) -> Sequence[Sequence[Series]]:
    """What each query finds, at every ``step`` seconds from the first scrape to the last.

    Raises `ToolMissing`, or `ValueError` with Prometheus' words.
    """
    told = sorted(scrapes, key=lambda scrape: scrape.at)
    asked = {
        "scrapes": [
            {"at": _milliseconds(one.at), "labels": dict(one.labels), "text": one.text}
            for one in told
        ],
        "queries": list(queries),
        "start": _milliseconds(told[0].at),
        "end": _milliseconds(told[-1].at),
        "step": _milliseconds(step),
    }
    done = subprocess.run(
        [evaluator()], input=json.dumps(asked), capture_output=True, text=True, check=False,
        timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    if done.returncode != 0:
        raise ValueError(done.stderr.strip())
    return [[_series(one) for one in found or ()] for found in json.loads(done.stdout)]


def now() -> float:
    """Seconds since 1970."""
    return time.time()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _series(found: Mapping[str, Any]) -> Series:
    points = [(float(at), float(value)) for at, value in found.get("values", ())]
    return Series(found["metric"], points)
