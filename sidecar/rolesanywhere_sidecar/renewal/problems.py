"""What a failed renewal means: how it is told, how it is logged, and how it is waited out.

Never quotes what nobody foresaw, and never says the same thing twice as loudly.
"""

import logging
from dataclasses import dataclass
from typing import Self

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.failures import Throttled
from rolesanywhere_sidecar.renewal import pacing
from rolesanywhere_sidecar.renewal.pacing import Manner

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the latest renewal failed: a code that never changes and a sentence without secrets."""

    code: str
    sentence: str

    @classmethod
    def of(cls, failure: Exception) -> Self:
        """What may be told of ``failure``."""
        if isinstance(failure, RolesAnywhereError):
            return cls(failure.code, str(failure))
        # Its text is for the log alone, which redacts: readiness is open to the whole cluster.
        name = type(failure).__name__
        return cls(RolesAnywhereError.code, f"an unforeseen {name}; see the sidecar's log")


def manner_of(failure: Exception) -> Manner:
    """How ``failure`` is waited out; what nobody foresaw may pass."""
    if isinstance(failure, Throttled):
        return pacing.THROTTLED
    return pacing.PASSING if getattr(failure, "retryable", True) else pacing.LASTING


class Complaints:
    """The log of failed renewals: what is urgent is an error once, and then a warning."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str, bool]] = set()

    def forget(self) -> None:
        """All is well: should a problem return, it is news."""
        self._told.clear()

    def tell(self, failure: Exception, *, retry_in: float, still_serving: bool) -> None:
        """Log ``failure``; an error where somebody has to act, or where nothing is served."""
        problem = Problem.of(failure)
        # Not by its sentence, which may hold a request's id or the time.
        key = (problem.code, getattr(failure, "hint", ""), still_serving)
        urgent = manner_of(failure) is pacing.LASTING or not still_serving
        level = logging.ERROR if urgent else logging.WARNING
        log.log(
            level - 10 if key in self._told else level,
            "session renewal failed",
            exc_info=None if isinstance(failure, RolesAnywhereError) else failure,
            extra={
                "code": problem.code,
                "problem": problem.sentence,
                "retry_in_seconds": round(retry_in, 1),
                "still_serving": still_serving,
            },
        )
        self._told.add(key)
