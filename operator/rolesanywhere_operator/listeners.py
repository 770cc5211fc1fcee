"""A port that is open for the length of a block, which the log says.

Never decides what is answered there.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from typing import Final

from rolesanywhere_operator.ports.channels import PlainChannel, TlsChannel
from rolesanywhere_operator.ports.connections import Connection
from rolesanywhere_operator.ports.messages import Site

log = logging.getLogger(__name__)

# Connections that the kernel takes on while we are busy. One that it drops is tried again by its
# caller after a second, and HTTP/1.1 takes as many connections as there are pods at once.
_BACKLOG: Final = 1024


@asynccontextmanager
async def listening(
    site: Site,
    *,
    name: str,
    address: str,
    port: int,
    tls: ssl.SSLContext | None = None,
    drain_seconds: float = 1.0,
) -> AsyncIterator[int]:
    """Have ``site`` answer on ``port`` (0: any), which the log calls ``name``; gives its number.

    At the end of the block, requests under way get ``drain_seconds``. Raises `OSError` when the
    port cannot be had.
    """
    crowd = _Crowd(site, tls)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(crowd.channel, address, port, backlog=_BACKLOG)
    try:
        bound = [one.getsockname()[1] for one in server.sockets]
        for number in bound:
            log.info("listening", extra={"name_of_port": name, "port": number})
        yield bound[0]
    finally:
        server.close()
        await crowd.part(drain_seconds)


class _Crowd:
    """The connections that are open, and what they share."""

    def __init__(self, site: Site, tls: ssl.SSLContext | None) -> None:
        self._site = site
        self._tls = tls
        self._open: set[Connection] = set()
        # Who keeps how much, in the order in which they began to.
        self._held: dict[Connection, int] = {}
        self._second, self._date = 0, ""

    def channel(self) -> asyncio.Protocol:
        """For one more caller."""
        connection = Connection(self._site, self)
        return TlsChannel(connection, self._tls) if self._tls else PlainChannel(connection)

    def came(self, connection: Connection) -> None:
        """One more."""
        self._open.add(connection)

    def went(self, connection: Connection) -> None:
        """One less."""
        self._open.discard(connection)

    def holds(self, connection: Connection, size: int) -> None:
        """So much it keeps; where that is too much of all, who keeps theirs the longest must go.

        Who is in earnest is done in a moment, so that it is not them.
        """
        self._held[connection] = size
        if not size:
            del self._held[connection]
        while sum(self._held.values()) > self._site.room:
            next(iter(self._held)).make_room()

    def date(self) -> str:
        """Now, as HTTP spells it (RFC 9110, section 5.6.7); spelt once a second."""
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
        return self._date

    async def part(self, seconds: float) -> None:
        """Have all of them end with their answers, and after so many ``seconds`` without."""
        for connection in list(self._open):
            connection.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._until_nobody_is_left()
        for connection in list(self._open):
            connection.abort()
        await self._until_nobody_is_left()

    async def _until_nobody_is_left(self) -> None:
        while self._open:  # noqa: ASYNC110 - once in the life of a port; an event would be no less
            await asyncio.sleep(0.01)
