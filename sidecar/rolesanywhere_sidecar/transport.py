"""One signed request over HTTPS, and what came back.

Adds nothing that is signed, follows no redirect, keeps no cookie: time, number and length are
bounded. Never retries, but for a kept connection that the service had closed meanwhile. Every way
in which no answer comes is `failures.EndpointUnreachable`; what keeps us from asking, a wrong
proxy or CA bundle, has an error of its own.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import h11

from rolesanywhere_sidecar.dialing import (
    USER_AGENT,
    Streams,
    Unreached,
    Way,
    address_of,
    dial,
    explained,
)
from rolesanywhere_sidecar.failures import EndpointUnreachable, InvalidReply
from rolesanywhere_sidecar.proxies import Proxy, proxy_for
from rolesanywhere_sidecar.sessions import Reply
from rolesanywhere_sidecar.signing import SignedRequest
from rolesanywhere_sidecar.trust import Trust

CONNECT_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 15.0
# How long a connection is kept for the next request: a retry finds it, and between two renewals
# nobody pays for it.
KEPT_SECONDS: Final = 20.0

# A session is about two kilobytes.
LARGEST_REPLY_BYTES: Final = 256 * 1024
# h11 looks at its bound between two reads, so that these must be small, too.
_LARGEST_HEAD: Final = 8 * 1024
_READ_BYTES: Final = 8 * 1024

_UNSIGNED: Final = {
    "user-agent": USER_AGENT,
    "accept": "application/json",
    "accept-encoding": "identity",
}


class _Stale(Exception):
    """A kept connection that died before a byte of the reply."""


@dataclass(slots=True, eq=False)
class _Connection:
    """An open connection; ``talk`` knows whether it can carry another request."""

    streams: Streams
    way: Way
    talk: h11.Connection = field(
        default_factory=lambda: h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
    )
    is_kept: bool = False
    received: int = 0  # bytes of the reply at hand

    async def is_silent(self) -> bool:
        """Whether the service has said nothing since its reply: no end, no "408", no rest of it.

        That would be taken for the reply to the next request.
        """
        try:
            async with asyncio.timeout(0):
                await self.streams[0].read(1)
        except TimeoutError as quiet:
            return quiet.errno is None
        except OSError:
            pass
        return False

    def abort(self) -> None:
        """Close it without another word."""
        self.streams[1].transport.abort()


class Transport:
    """The way to one service endpoint, with at most one connection kept open to it."""

    def __init__(
        self,
        service_url: str,
        *,
        ca_bundle: str | None,
        env: Mapping[str, str],
        connect_seconds: float = CONNECT_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
        kept_seconds: float = KEPT_SECONDS,
    ) -> None:
        parts = urlsplit(service_url)
        self._url = service_url
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._is_tls else 80)
        self._env = env
        self._trust = Trust(ca_bundle)
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds
        self._kept_seconds = kept_seconds
        self._kept: _Connection | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def post(self, request: SignedRequest) -> Reply:
        """The service's reply to ``request``, whatever its status.

        Raises `EndpointUnreachable` when none comes, `InvalidReply` when it is too long, and
        before anything is sent `proxies.InvalidProxy` or `trust.InvalidCABundle`.
        """
        proxy = proxy_for(self._url, self._env)
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._ask(await self._way(proxy), request)
        except TimeoutError as late:
            # The kernel's own has a number, and may come before ours.
            mine = Unreached(f"no answer within {self._total_seconds:g} seconds")
            problem = explained(late) if late.errno else mine
        except Unreached as known:
            problem = known
        except OSError as wrong:
            problem = explained(wrong)
        # Not chained: other libraries' texts may hold addresses, and what was sent.
        proxied = f" through the proxy {proxy.address}" if proxy else ""
        raise EndpointUnreachable(
            f"{address_of(self._host, self._port)} cannot be reached{proxied}: {problem.reason}",
            hint=problem.hint,
        )

    async def close(self) -> None:
        """Close what is open; nothing is sent any more."""
        if kept := self._take():
            kept.abort()
            with suppress(OSError):
                await kept.streams[1].wait_closed()

    async def _way(self, proxy: Proxy | None) -> Way:
        """Reads authorities from files, where they are needed."""
        context = await asyncio.to_thread(self._trust.context) if self._is_tls else None
        return Way(self._host, self._port, context, proxy)

    async def _ask(self, way: Way, request: SignedRequest) -> Reply:
        if kept := self._take():
            if kept.way == way and await kept.is_silent():
                with suppress(_Stale):
                    return await self._converse(kept, request)
            kept.abort()
        return await self._converse(await self._dialled(way), request)

    async def _dialled(self, way: Way) -> _Connection:
        try:
            async with asyncio.timeout(self._connect_seconds):
                return _Connection(await dial(way), way)
        except TimeoutError as late:
            if late.errno:
                raise
            raise Unreached(f"no connection within {self._connect_seconds:g} seconds") from None

    async def _converse(self, connection: _Connection, request: SignedRequest) -> Reply:
        try:
            reply = await _exchange(connection, request)
        except BaseException as problem:
            connection.abort()
            unheard = connection.is_kept and not connection.received
            if unheard and isinstance(problem, OSError | Unreached):
                raise _Stale from None
            raise
        self._keep(connection)
        return reply

    def _keep(self, connection: _Connection) -> None:
        """For the next request, if the service lets us and nobody else's is kept already."""
        talk = connection.talk
        is_over = talk.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}
        if is_over and not talk.trailing_data[0] and self._kept is None:
            talk.start_next_cycle()
            connection.is_kept, connection.received = True, 0
            self._kept = connection
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._kept_seconds, self._drop)
        else:
            connection.abort()

    def _take(self) -> _Connection | None:
        if self._timer is not None:
            self._timer.cancel()
        kept, self._kept = self._kept, None
        return kept

    def _drop(self) -> None:
        if kept := self._take():
            kept.abort()


async def _exchange(connection: _Connection, request: SignedRequest) -> Reply:
    """Raises `Unreached`, `OSError` or `InvalidReply`."""
    talk, writer = connection.talk, connection.streams[1]
    headers = {**_UNSIGNED, **request.headers, "content-length": str(len(request.body))}
    # What is encoded is signed: nobody may encode it anew.
    asked = h11.Request(method="POST", target=request.target, headers=list(headers.items()))
    parts = (asked, h11.Data(data=request.body), h11.EndOfMessage())
    writer.write(b"".join(talk.send(part) or b"" for part in parts))
    await writer.drain()
    status, told, body = 0, {}, bytearray()
    while True:
        match await _event(connection):
            case h11.Response() as head:
                status = head.status_code
                told = {name.decode(): value.decode("latin-1") for name, value in head.headers}
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage():
                return Reply(status, told, bytes(body))


async def _event(connection: _Connection) -> object:
    """What the service said next. Raises `Unreached`, `OSError` or `InvalidReply`."""
    way, ended = connection.way, False
    while True:
        try:
            event = connection.talk.next_event()
        except h11.RemoteProtocolError:
            if ended:
                raise Unreached("it closed the connection in the middle", "") from None
            hint = "check that the endpoint is Roles Anywhere's"
            raise Unreached("it does not answer as an HTTP server", hint) from None
        if event is not h11.NEED_DATA:
            return event
        data = await connection.streams[0].read(_READ_BYTES)
        ended = not data
        connection.received += len(data)
        if connection.received > LARGEST_REPLY_BYTES:
            where = address_of(way.host, way.port)
            raise InvalidReply(
                f"{where} answered with more than {LARGEST_REPLY_BYTES} bytes",
                hint="check that the endpoint is Roles Anywhere's",
            )
        connection.talk.receive_data(data)
