"""What the sidecar counts and measures, for Prometheus to read.

Never holds a secret, and no label takes its values from outside.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from rolesanywhere_contract.exposition import (
    CONTENT_TYPE,
    Family,
    Histogram,
    Sample,
    exposition,
    gauge,
)
from rolesanywhere_sidecar.identities.identity import Identity, expires_soon
from rolesanywhere_sidecar.identities.pkcs11.tally import Tally
from rolesanywhere_sidecar.serving.exchange import Reply
from rolesanywhere_sidecar.version import VERSION

# Upper bounds, in seconds: a request to a region nearby takes a tenth, and is given up at 15.
BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)

_PYTHON: Final = ".".join(map(str, sys.version_info[:3]))


class Metrics:
    """Counts what it is told, and asks the rest when it is read.

    ``expires`` is when the session held ends, or has ended; ``skew`` is in seconds. ``token`` is
    for a key that is in one.
    """

    def __init__(
        self,
        *,
        expires: Callable[[], datetime | None],
        identity: Callable[[], Identity | None],
        skew: Callable[[], float],
        now: Callable[[], datetime],
        token: Tally | None = None,
    ) -> None:
        self._expires = expires
        self._identity = identity
        self._skew = skew
        self._now = now
        self._token = token
        self._renewals: Counter[str] = Counter({"": 0})
        self._requests: Counter[tuple[str, int]] = Counter()
        self._durations = Histogram(BUCKETS)

    def renewed(self, code: str) -> None:
        """An attempt at a session has ended, with a failure's ``code`` or, with "", well."""
        self._renewals[code] += 1

    def asked(self, took: timedelta) -> None:
        """A CreateSession request has ended, answered or not."""
        self._durations.observe(took.total_seconds())

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
        yield gauge(
            "rolesanywhere_credentials_expiry_timestamp_seconds",
            "When the session held ends, in Unix time; 0 before the first.",
            _timestamp(self._expires()),
        )
        yield gauge(
            "rolesanywhere_certificate_expiry_timestamp_seconds",
            "When the certificate on disk ends, in Unix time; 0 before the first.",
            _timestamp(identity.not_after if identity else None),
        )
        yield gauge(
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
        yield gauge(
            "rolesanywhere_clock_skew_seconds",
            "By how much this machine's clock is ahead of the service's; negative when behind.",
            self._skew(),
        )
        yield from self._token.families() if self._token else ()
        yield Family(
            "rolesanywhere_build_info",
            "gauge",
            "1, labelled with the release that runs and its Python.",
            (Sample(1, {"version": VERSION, "python": _PYTHON}),),
        )


def _timestamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0


def _renewals(counted: Mapping[str, int]) -> Iterator[Sample]:
    for code, count in sorted(counted.items()):
        yield Sample(count, {"outcome": "failure" if code else "success", "code": code})


def _requests(counted: Mapping[tuple[str, int], int]) -> Iterator[Sample]:
    for (endpoint, status), count in sorted(counted.items()):
        yield Sample(count, {"endpoint": endpoint, "status": str(int(status))})
