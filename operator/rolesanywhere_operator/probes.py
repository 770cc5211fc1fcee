"""How a program is: alive, ready, and in numbers; for kubelet and scraper, plain HTTP, no secrets.

Alive means that the event loop answers, and that the program knows of nothing in itself that only
a new start would mend. That, what it takes to be ready, and what is worth counting, each program
knows for itself.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus

from aiohttp import web

from rolesanywhere_contract import exposition
from rolesanywhere_contract.exposition import Family
from rolesanywhere_contract.names import LIVENESS_PATH, METRICS_PATH, READINESS_PATH


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
) -> web.Application:
    """The application that kubelet and scraper call.

    ``problem`` says why we are not ready, if so, and ``ailment`` why we should be started again;
    ``metrics`` is asked at each scrape.
    """

    async def livez(_: web.Request) -> web.Response:
        return _answer(ailment())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(problem())

    async def measured(_: web.Request) -> web.Response:
        return web.Response(
            text=exposition.exposition(metrics()),
            headers={"Content-Type": exposition.CONTENT_TYPE},
        )

    app = web.Application(client_max_size=1024)
    app.router.add_get(LIVENESS_PATH, livez)
    app.router.add_get(READINESS_PATH, readyz)
    app.router.add_get(METRICS_PATH, measured)
    return app


def _answer(wrong: str | None) -> web.Response:
    if wrong is None:
        return web.Response(text="ok\n")
    return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{wrong}\n")
