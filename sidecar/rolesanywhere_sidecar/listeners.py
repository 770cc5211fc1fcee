"""The edge where bytes become an `Ask`, and a `Reply` becomes bytes.

Everything is bounded: sizes, connections, and the time that one may idle. One connection carries
one request. Never decides what is answered, and never logs what was sent.
"""

import asyncio
import errno
import functools
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.exchange import Answer, Ask, Reply

log = logging.getLogger(__name__)

# A pod's workers may all start at once; each is answered in a moment.
MAX_CONNECTIONS: Final = 512
MAX_HEADERS: Final = 64
# Bytes of a request line, and of one header: SDKs send less than a tenth.
MAX_LINE: Final = 4096
# Seconds that a connection may take to send its request.
IDLE_SECONDS: Final = 10.0
# Seconds that answers under way get when the listener closes.
DRAIN_SECONDS: Final = 3.0

# Sent with every response, errors too. No versions, and nothing for a cache to keep.
_HEADERS: Final = {"Server": "rolesanywhere", "Cache-Control": "no-store"}


class PortUnavailable(RolesAnywhereError):
    """A port cannot be listened on."""

    code = "PortUnavailable"


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Empty, where aiohttp would give back its version and a piece of the request."""
        if status >= 500:
            log.error("request failed", exc_info=exc)
        response = web.Response(status=status, headers=_HEADERS)
        response.force_close()
        return response


class _TooMany(asyncio.Protocol):
    """A connection beyond what is allowed: hung up on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


def _accept(server: web.Server) -> asyncio.Protocol:
    """What a new connection speaks with."""
    if len(server.connections) >= MAX_CONNECTIONS:
        return _TooMany()
    return _Connection(
        server,
        loop=asyncio.get_running_loop(),
        access_log=None,  # type: ignore[arg-type] # none at all: the annotation forgot it
        keepalive_timeout=IDLE_SECONDS,
        lingering_time=0,
        max_line_size=MAX_LINE,
        max_field_size=MAX_LINE,
        max_headers=MAX_HEADERS,
    )


class Listener:
    """An open port that answers with ``answer``."""

    def __init__(self, connections: web.Server, server: asyncio.Server) -> None:
        self._connections = connections
        self._server = server

    @classmethod
    async def open(cls, answer: Answer, at: socket.socket) -> "Listener":
        """Listen on ``at``, which is bound."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return _response(answer(Ask(request.method, request.raw_path, request.headers)))

        connections = web.Server(handle)
        accept = functools.partial(_accept, connections)
        server = await asyncio.get_running_loop().create_server(
            accept, sock=at, backlog=MAX_CONNECTIONS
        )
        return cls(connections, server)

    async def close(self) -> None:
        """Take no more connections, and finish those that are being answered, within seconds."""
        self._server.close()
        # Idle ones first: they would use up the time of those that are being answered.
        self._connections.pre_shutdown()
        await self._connections.shutdown(DRAIN_SECONDS)


def loopback(port: int) -> socket.socket:
    """A socket that only this pod can reach. Raises `PortUnavailable`."""
    with _explained(f"127.0.0.1 port {port}"):
        return socket.create_server(("127.0.0.1", port))


def every_address(port: int) -> socket.socket:
    """A socket on all of the pod's addresses, of either family. Raises `PortUnavailable`."""
    with _explained(f"port {port}"):
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as wrong:
            if wrong.errno == errno.EADDRINUSE:
                raise
        # A kernel without IPv6, or with it switched off.
        return socket.create_server(("0.0.0.0", port))  # noqa: S104 - the kubelet calls the pod's address


@contextmanager
def _explained(where: str) -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        # The text without the address, which asyncio and socket add to some of them.
        reason = os.strerror(wrong.errno) if wrong.errno else type(wrong).__name__
        raise PortUnavailable(
            f"cannot listen on {where}: {reason}",
            hint="free the port, or choose another with --port or --probe-port",
        ) from None


def _response(reply: Reply) -> web.Response:
    response = web.Response(
        status=reply.status,
        text=reply.body,
        content_type=reply.content_type,
        headers={**_HEADERS, **reply.headers},
    )
    response.force_close()
    return response
