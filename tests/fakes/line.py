"""The line between a client and a service: a TCP relay on loopback, with the network's own faults.

What goes over it is passed on byte by byte and never looked at, so TLS goes through it. One fault
at a time; each also breaks the connections that are open, as it would.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

_HOST: Final = "127.0.0.1"
_CHUNK: Final = 65536

# Linux lets one connection wait at a backlog of zero; what comes later is not even refused.
_FILLERS: Final = 3


class Line:
    """Leads to ``url``'s port until told otherwise; open it with `Line.to`."""

    def __init__(self, url: str) -> None:
        self._scheme = urlsplit(url).scheme
        self._home = self._target = _port_of(url)
        # Bound and never listening: keeps the port ours while nobody listens there.
        self._claim = _bound(0)
        self._port: int = self._claim.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._sockets: list[socket.socket] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent = False

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> "AsyncIterator[Line]":
        """A line to the service at ``url``, working, until the block ends."""
        line = cls(url)
        try:
            await line.mend()
            yield line
        finally:
            await line._tear_down()
            line._claim.close()

    @property
    def url(self) -> str:
        """Where a client finds the service, whatever becomes of the line."""
        return f"{self._scheme}://{_HOST}:{self._port}"

    async def mend(self) -> None:
        """Everything is passed on again."""
        await self.lead_to(f"{self._scheme}://{_HOST}:{self._home}")

    async def lead_to(self, url: str) -> None:
        """Connections end at another service than the client thinks."""
        await self._tear_down()
        self._target, self._silent = _port_of(url), False
        await self._listen()

    async def refuse(self) -> None:
        """Nobody listens: connections are refused."""
        await self._tear_down()

    async def swallow(self) -> None:
        """Connections are accepted, and no byte ever comes back."""
        await self._tear_down()
        self._silent = True
        await self._listen()

    async def black_hole(self) -> None:
        """Connections are neither accepted nor refused: the backlog is full, and stays so."""
        await self._tear_down()
        listener = _bound(self._port)
        listener.listen(0)
        self._sockets.append(listener)
        for _ in range(_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect((_HOST, self._port))
            self._sockets.append(filler)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=_bound(self._port))

    async def _tear_down(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        for held in self._sockets:
            held.close()
        self._server = None
        self._sockets.clear()
        self._writers.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.ensure_future(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._silent:
            while await reader.read(_CHUNK):
                pass
            return
        back, forth = await asyncio.open_connection(_HOST, self._target)
        self._writers.add(forth)
        try:
            await asyncio.gather(_pump(reader, forth), _pump(back, writer))
        except ConnectionError:
            _reset_on_close(writer)
        finally:
            for end in (writer, forth):
                end.transport.abort()
                self._writers.discard(end)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    """A reset is passed on as one: a linger time of zero (socket(7))."""
    ending = writer.get_extra_info("socket")
    ending.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((_HOST, port))
    return bound


def _port_of(url: str) -> int:
    return urlsplit(url).port or 443
