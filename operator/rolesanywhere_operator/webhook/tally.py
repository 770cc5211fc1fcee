"""What became of the reviews, counted: by outcome and reason, and how long they took.

Never told a name: a reason is one of ours (docs/reference.md), and so is an outcome.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from rolesanywhere_contract.exposition import Family, Histogram, by_labels

# Upper bounds in seconds: most take a millisecond, and the API server gives up at ten seconds.
_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Outcomes besides the decisions, which the log names inject, leave and refuse.
FAILED: Final = "fail"
UNUSABLE: Final = "unusable"

# The reason of a refusal that is a mistake of ours.
INTERNAL_ERROR: Final = "InternalError"


class Tally:
    """Counts what it is told."""

    def __init__(self) -> None:
        # From 0 on: Prometheus sees no increase in a series that begins at 1.
        self._reviews: Counter[tuple[str, ...]] = Counter({(FAILED, INTERNAL_ERROR): 0})
        self._durations = Histogram(_BOUNDS)

    def answered(self, outcome: str, reason: str) -> None:
        """A review was answered."""
        self._reviews[outcome, reason] += 1

    def took(self, seconds: float) -> None:
        """So long, from its head to its answer."""
        self._durations.observe(seconds)

    def families(self) -> Iterator[Family]:
        """Everything as it is now."""
        yield Family(
            "rolesanywhere_operator_admission_reviews_total",
            "counter",
            "Reviews by outcome (inject, leave, refuse, fail, unusable) and reason.",
            by_labels(("outcome", "reason"), self._reviews),
        )
        yield Family(
            "rolesanywhere_operator_admission_duration_seconds",
            "histogram",
            "How long reviews took, from the request's head to its answer.",
            tuple(self._durations.samples()),
        )
