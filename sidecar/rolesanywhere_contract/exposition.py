"""Prometheus' text exposition format 0.0.4: families in, text out, and a histogram to fill one.

Our own writing of it, because ``prometheus_client`` costs each sidecar megabytes and a tenth of its
start (docs/architecture.md). Its parser reads this in the tests. Never serves and never counts by
itself: who has something to tell makes families of it when asked.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4"

_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: ``suffix`` is added to the family's name."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one name; ``kind`` is counter, gauge or histogram."""

    name: str
    kind: str
    help: str
    samples: tuple[Sample, ...]


def exposition(families: Iterable[Family]) -> str:
    """``families`` as text, each with its HELP and its TYPE."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def gauge(name: str, about: str, value: float) -> Family:
    """One value that goes up and down."""
    return Family(name, "gauge", about, (Sample(value),))


def by_labels(labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> tuple[Sample, ...]:
    """A sample for each of ``values``, whose keys are in the order of ``labels``; sorted."""
    return tuple(
        Sample(value, dict(zip(labels, key, strict=True))) for key, value in sorted(values.items())
    )


class Histogram:
    """How many observations were how long; ``bounds`` are upper ones, in seconds, ascending."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one; a clock that was set in the middle takes no time back."""
        seconds = max(0.0, seconds)
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def samples(self, labels: Mapping[str, str] | None = None) -> Iterator[Sample]:
        """Cumulative, as the format wants them, each with ``labels``."""
        shared = dict(labels or {})
        total = 0
        for bound, count in zip((*map(_number, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield Sample(total, {**shared, "le": bound}, "_bucket")
        yield Sample(self._sum, shared, "_sum")
        yield Sample(total, shared, "_count")


def _lines(family: Family) -> Iterator[str]:
    about = family.help.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {family.name} {about}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        labels = ",".join(
            f'{name}="{value.translate(_ESCAPES)}"' for name, value in sample.labels.items()
        )
        braced = f"{{{labels}}}" if labels else ""
        yield f"{family.name}{sample.suffix}{braced} {_number(sample.value)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
