"""How a program is: alive, ready, and in numbers; for kubelet and scraper, plain HTTP, no secrets.

Alive means that the event loop answers, and that the program knows of nothing in itself that only
a new start would mend. That, what it takes to be ready, and what is worth counting, each program
knows for itself.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus

from rolesanywhere_contract import exposition
from rolesanywhere_contract.exposition import Family
from rolesanywhere_contract.names import LIVENESS_PATH, METRICS_PATH, READINESS_PATH
from rolesanywhere_operator.ports.messages import Request, Response, Site, said


def _nothing() -> Iterable[Family]:
    """Nothing is counted."""
    return ()


def _well() -> None:
    """Nothing ails."""


def prober(
    problem: Callable[[], str | None],
    *,
    ailment: Callable[[], str | None] = _well,
    metrics: Callable[[], Iterable[Family]] = _nothing,
) -> Site:
    """What kubelet and scraper call.

    ``problem`` says why we are not ready, if so, and ``ailment`` why we should be started again;
    ``metrics`` is asked at each scrape.
    """

    def measured(_: Request) -> Response:
        text = exposition.exposition(metrics())
        return Response(body=text.encode(), content_type=exposition.CONTENT_TYPE)

    return Site(
        pages={
            LIVENESS_PATH: {"GET": lambda _: _answer(ailment())},
            READINESS_PATH: {"GET": lambda _: _answer(problem())},
            METRICS_PATH: {"GET": measured},
        }
    )


def _answer(wrong: str | None) -> Response:
    if wrong is None:
        return said(HTTPStatus.OK, "ok")
    return said(HTTPStatus.SERVICE_UNAVAILABLE, wrong)
