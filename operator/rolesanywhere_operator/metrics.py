"""What both programs of the operator count: calls on the API server, and which release runs.

`probes` serves it, and each program adds families of its own. Never holds a secret, and no label
takes its values from a user: names of pods, bindings and namespaces stay in the log.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Final

from rolesanywhere_contract.exposition import Family, Histogram, Sample, by_labels
from rolesanywhere_operator.kube.calls import Call
from rolesanywhere_operator.version import VERSION

# Upper bounds in seconds: a get takes milliseconds, and a call is given up at five seconds.
_CALL_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_PYTHON: Final = ".".join(map(str, sys.version_info[:3]))


class ApiCalls:
    """Counts calls on the API server; ``program`` is webhook or controller."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._calls: Counter[tuple[str, ...]] = Counter()
        self._durations: dict[str, Histogram] = {}

    def observe(self, call: Call) -> None:
        """A call has been answered, or was given up."""
        self._calls[call.verb, call.resource, str(call.status)] += 1
        self._durations.setdefault(call.verb, Histogram(_CALL_BOUNDS)).observe(call.seconds)

    def families(self) -> Iterator[Family]:
        """Everything as it is now."""
        yield Family(
            "rolesanywhere_operator_api_requests_total",
            "counter",
            "Calls on the API server, by verb, resource and HTTP status; 0 without an answer.",
            by_labels(("verb", "resource", "code"), self._calls),
        )
        yield Family(
            "rolesanywhere_operator_api_request_duration_seconds",
            "histogram",
            "How long until the API server began to answer, by verb.",
            tuple(
                sample
                for verb, durations in sorted(self._durations.items())
                for sample in durations.samples({"verb": verb})
            ),
        )
        labels = {"program": self._program, "version": VERSION, "python": _PYTHON}
        yield Family(
            "rolesanywhere_operator_build_info",
            "gauge",
            "1, labelled with the program and release that runs and its Python.",
            (Sample(1, labels),),
        )
