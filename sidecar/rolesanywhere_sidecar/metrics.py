"""What the sidecar counts and measures, in Prometheus' text exposition format 0.0.4.

Our own writing of it: eight families need a page of code, where ``prometheus_client`` costs each
pod megabytes and a tenth of its start (docs/architecture.md). Its parser reads this in the tests.
Never holds a secret, and no label takes its values from outside.
"""

import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from rolesanywhere_sidecar.identities.identity import Identity, expires_soon
from rolesanywhere_sidecar.serving.exchange import Reply
from rolesanywhere_sidecar.version import VERSION

CONTENT_TYPE: Final = "text/plain; version=0.0.4"

# Upper bounds, in seconds: a request to a region nearby takes a tenth, and is given up at 15.
BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)

_PYTHON: Final = ".".join(map(str, sys.version_info[:3]))
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


def _lines(family: Family) -> Iterator[str]:
    help_text = family.help.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {family.name} {help_text}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        labels = ",".join(
            f'{name}="{value.translate(_ESCAPES)}"' for name, value in sample.labels.items()
        )
        braced = f"{{{labels}}}" if labels else ""
        yield f"{family.name}{sample.suffix}{braced} {_number(sample.value)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


class Histogram:
    """How many observations were how long, in seconds."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(BUCKETS, seconds)] += 1
        self._sum += seconds

    def samples(self) -> Iterator[Sample]:
        """Cumulative, as the format wants them."""
        total = 0
        for bound, count in zip((*map(_number, BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            yield Sample(total, {"le": bound}, "_bucket")
        yield Sample(self._sum, suffix="_sum")
        yield Sample(total, suffix="_count")


class Metrics:
    """Counts what it is told, and asks the rest when it is read.

    ``expires`` is when the session held ends, or has ended; ``skew`` is in seconds.
    """

    def __init__(
        self,
        *,
        expires: Callable[[], datetime | None],
        identity: Callable[[], Identity | None],
        skew: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._expires = expires
        self._identity = identity
        self._skew = skew
        self._now = now
        self._renewals: Counter[str] = Counter({"": 0})
        self._requests: Counter[tuple[str, int]] = Counter()
        self._durations = Histogram()

    def renewed(self, code: str) -> None:
        """An attempt at a session has ended, with a failure's ``code`` or, with "", well."""
        self._renewals[code] += 1

    def asked(self, took: timedelta) -> None:
        """A CreateSession request has ended, answered or not."""
        # A clock that is set in the middle takes no time back.
        self._durations.observe(max(0.0, took.total_seconds()))

    def requested(self, endpoint: str, status: int) -> None:
        """A request of the application's was answered."""
        self._requests[endpoint, status] += 1

    def reply(self) -> Reply:
        """All of it, for a scraper."""
        return Reply(HTTPStatus.OK, exposition(self.families()), CONTENT_TYPE)

    def families(self) -> Iterator[Family]:
        """Everything as it is now."""
        identity = self._identity()
        soon = identity is not None and expires_soon(identity, at=self._now()) is not None
        yield _gauge(
            "rolesanywhere_credentials_expiry_timestamp_seconds",
            "When the session held ends, in Unix time; 0 before the first.",
            _timestamp(self._expires()),
        )
        yield _gauge(
            "rolesanywhere_certificate_expiry_timestamp_seconds",
            "When the certificate on disk ends, in Unix time; 0 before the first.",
            _timestamp(identity.not_after if identity else None),
        )
        yield _gauge(
            "rolesanywhere_certificate_expires_soon",
            "1 while less than a day is left of the certificate, else 0.",
            soon,
        )
        yield Family(
            "rolesanywhere_renewals_total",
            "counter",
            "Attempts at a session, by outcome, and by code where they failed.",
            tuple(_renewals(self._renewals)),
        )
        yield Family(
            "rolesanywhere_create_session_duration_seconds",
            "histogram",
            "How long requests for a session took, answered or not.",
            tuple(self._durations.samples()),
        )
        yield Family(
            "rolesanywhere_requests_total",
            "counter",
            "Requests on the credentials port, by endpoint and HTTP status.",
            tuple(_requests(self._requests)),
        )
        yield _gauge(
            "rolesanywhere_clock_skew_seconds",
            "By how much this machine's clock is ahead of the service's; negative when behind.",
            self._skew(),
        )
        yield Family(
            "rolesanywhere_build_info",
            "gauge",
            "1, labelled with the release that runs and its Python.",
            (Sample(1, {"version": VERSION, "python": _PYTHON}),),
        )


def _gauge(name: str, about: str, value: float) -> Family:
    return Family(name, "gauge", about, (Sample(value),))


def _timestamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0


def _renewals(counted: Mapping[str, int]) -> Iterator[Sample]:
    for code, count in sorted(counted.items()):
        yield Sample(count, {"outcome": "failure" if code else "success", "code": code})


def _requests(counted: Mapping[tuple[str, int], int]) -> Iterator[Sample]:
    for (endpoint, status), count in sorted(counted.items()):
        yield Sample(count, {"endpoint": endpoint, "status": str(int(status))})
