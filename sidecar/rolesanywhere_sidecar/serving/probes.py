"""Whether the sidecar lives and is ready, and its metrics: no secrets, open to the whole pod.

Being ready is holding credentials that have not expired, whatever the last renewal said. Being
alive is that the event loop answers and the background work takes its turns; AWS has no say in
it, because a restart would throw away what is still valid.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Protocol

from rolesanywhere_contract.names import LIVENESS_PATH, METRICS_PATH, READINESS_PATH
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.renewal.problems import Problem
from rolesanywhere_sidecar.serving.exchange import READING, Ask, Reply, not_allowed, path_of


class Background(Protocol):
    """Work that must keep taking its turns."""

    @property
    def is_stuck(self) -> bool: ...


class Probes:
    """Answers on the probe port's paths.

    ``prospect`` says in a few words what comes next; ``metrics`` is what a scraper gets.
    """

    def __init__(
        self,
        *,
        current: Callable[[], Credentials | None],
        problem: Callable[[], Problem | None],
        prospect: Callable[[], str],
        metrics: Callable[[], Reply],
        background: Sequence[Background],
        redact: Callable[[str], str],
    ) -> None:
        self._current = current
        self._problem = problem
        self._prospect = prospect
        self._background = background
        self._redact = redact
        self._answers = {
            path_of(LIVENESS_PATH): self._live,
            path_of(READINESS_PATH): self._ready,
            path_of(METRICS_PATH): metrics,
        }

    def answer(self, ask: Ask) -> Reply:
        """A probe's body is one sentence."""
        probe = self._answers.get(ask.path)
        if probe is None:
            return Reply(HTTPStatus.NOT_FOUND)
        return probe() if ask.method in READING else not_allowed(*READING)

    def _live(self) -> Reply:
        stuck = [type(work).__name__ for work in self._background if work.is_stuck]
        if stuck:
            return _sentence(HTTPStatus.SERVICE_UNAVAILABLE, f"stuck: {', '.join(stuck)}")
        return _sentence(HTTPStatus.OK, "alive")

    def _ready(self) -> Reply:
        problem = self._problem()
        # This port is open to the cluster: a secret that slipped into a sentence stops here.
        why = self._redact(f"{problem.code}: {problem.sentence}") if problem else ""
        if self._current() is not None:
            # What will end readiness if nobody mends it is told before it does.
            told = f"ready, for now: {why}; {self._prospect()}" if why else "ready"
            return _sentence(HTTPStatus.OK, told)
        prospect = self._prospect()
        told = f"no credentials: {why}; {prospect}" if why else f"no credentials yet: {prospect}"
        return _sentence(HTTPStatus.SERVICE_UNAVAILABLE, told)


def _sentence(status: HTTPStatus, text: str) -> Reply:
    return Reply(status, " ".join(text.split()) + "\n")
