"""Whether a program lives and is ready, for the kubelet: plain HTTP, no secrets.

Alive means that the event loop answers. What it takes to be ready, each program knows for itself.
"""

from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

from rolesanywhere_contract.names import LIVENESS_PATH, READINESS_PATH


def prober(problem: Callable[[], str | None]) -> web.Application:
    """The application that the kubelet calls: ``problem`` says why we are not ready, if so."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if reason := problem():
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=f"{reason}\n")
        return web.Response(text="ok\n")

    app = web.Application(client_max_size=1024)
    app.router.add_get(LIVENESS_PATH, livez)
    app.router.add_get(READINESS_PATH, readyz)
    return app
