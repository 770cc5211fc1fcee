"""Whether the controller lives and is ready, for the kubelet: plain HTTP, no secrets.

Alive means that the event loop answers. Ready means that the Lease has been read: a standby is as
ready as the leader. Must be started before kopf, which on its way out cancels whatever came after.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from rolesanywhere_contract.names import LIVENESS_PATH, READINESS_PATH


@asynccontextmanager
async def serving(*, host: str, port: int, is_ready: Callable[[], bool]) -> AsyncIterator[int]:
    """Answer probes on ``port`` (0: any) for the length of the block; yields the port."""

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def ready(_: web.Request) -> web.Response:
        if is_ready():
            return web.Response(text="ready\n")
        return web.Response(status=503, text="not ready: the Lease could not be read yet\n")

    app = web.Application()
    app.add_routes([web.get(LIVENESS_PATH, live), web.get(READINESS_PATH, ready)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
