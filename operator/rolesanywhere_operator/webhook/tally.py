"""What became of the reviews, counted: by outcome and reason, and how long they took.

Never told a name: a reason is one of ours (docs/reference.md), and so is an outcome.
"""

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from rolesanywhere_contract.exposition import Family, Histogram, by_labels
from rolesanywhere_operator.domain.decisions import Reason

# Upper bounds in seconds: most take a millisecond, and the API server gives up at ten seconds.
_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

INJECT: Final = "inject"
LEAVE: Final = "leave"
REFUSE: Final = "refuse"
# Outcomes besides the decisions.
FAILED: Final = "fail"
UNUSABLE: Final = "unusable"

# The reason of a refusal that is a mistake of ours.
INTERNAL_ERROR: Final = "InternalError"


class Unusable(StrEnum):
    """Why what came is no review of a pod."""

    CONTENT_TYPE = "ContentType"
    CROWDED = "Crowded"
    NOT_A_REVIEW = "NotAReview"
    SLOW = "Slow"
    TOO_LARGE = "TooLarge"
    UNEXPECTED_REVIEW = "UnexpectedReview"


_OUTCOMES: Final = {
    Reason.BINDING_NAMED: INJECT,
    Reason.BINDING_SELECTED: INJECT,
    Reason.NOT_ASKED: LEAVE,
    Reason.OPTED_OUT: LEAVE,
}


def _everything() -> Iterator[tuple[str, str]]:
    """Each outcome with each reason that it can have."""
    for reason in Reason:
        yield _OUTCOMES.get(reason, REFUSE), str(reason)
    for unusable in Unusable:
        yield UNUSABLE, str(unusable)
    yield FAILED, INTERNAL_ERROR


class Tally:
    """Counts what it is told."""

    def __init__(self) -> None:
        # From 0 on: Prometheus sees no increase in a series that begins at 1.
        self._reviews: Counter[tuple[str, ...]] = Counter(dict.fromkeys(_everything(), 0))
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
