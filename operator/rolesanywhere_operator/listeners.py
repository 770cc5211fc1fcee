"""A port that is open for the length of a block, which the log says.

Never decides what is answered there.
"""

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

log = logging.getLogger(__name__)


@asynccontextmanager
async def listening(
    app: web.Application,
    *,
    name: str,
    address: str,
    port: int,
    tls: ssl.SSLContext | None = None,
    drain_seconds: float = 1.0,
) -> AsyncIterator[None]:
    """Have ``app`` answer on ``port`` (0: any), which the log calls ``name``.

    At the end of the block, requests under way get ``drain_seconds``. Raises `OSError` when the
    port cannot be had.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=drain_seconds)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port, ssl_context=tls).start()
        for bound in runner.addresses:
            log.info("listening", extra={"name_of_port": name, "port": bound[1]})
        yield
    finally:
        await runner.cleanup()
