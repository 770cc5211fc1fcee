"""A connection without a socket: what asyncio's transport would do, and what it was told to.

Takes ``room`` bytes of answers before it pushes back, as a kernel does whose client reads nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11

from rolesanywhere_sidecar.serving.connections import Bounds, Connection, Shared
from rolesanywhere_sidecar.serving.exchange import Ask, Reply


class Wire(asyncio.Transport):
    """Between a client that is a test and the connection that serves it."""

    def __init__(self, protocol: asyncio.BufferedProtocol, *, room: int = 1 << 30) -> None:
        super().__init__()
        self.protocol = protocol
        self.sent = bytearray()
        self.held = bytearray()  # written, and not taken by the client
        self.room = room
        self.is_paused = False
        self.is_closed = False
        self.has_said_all = False
        self.is_at_end = False
        self.high: int | None = None  # what asyncio would keep before it pushes back

    def write(self, data: Any) -> None:
        assert not self.has_said_all, "written after the end"
        assert self.high == 0, "more than one answer would be held"
        assert not self.held, "written while the client does not read"
        if self.is_closed:
            return
        fits = min(len(data), self.room)
        self.room -= fits
        self.sent += data[:fits]
        self.held += data[fits:]
        if self.held:
            self.protocol.pause_writing()

    def taken(self, more: int) -> None:
        """The client reads ``more`` bytes."""
        self.room += more
        if self.held:
            fits = min(len(self.held), self.room)
            self.room -= fits
            self.sent += self.held[:fits]
            del self.held[:fits]
            if not self.held:
                self.protocol.resume_writing()

    def receive(self, data: bytes) -> None:
        """The client sends ``data``, as fast as it may."""
        view = memoryview(data)
        while view and not self.is_closed and not self.is_paused:
            buffer = memoryview(self.protocol.get_buffer(-1))
            count = min(len(buffer), len(view))
            buffer[:count] = view[:count]
            self.protocol.buffer_updated(count)
            view = view[count:]

    def end(self) -> None:
        """The client sends no more; as with a socket, nobody hears of it who does not read."""
        self.is_at_end = True
        if not self.is_closed and not self.is_paused and not self.protocol.eof_received():
            self.close()

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.protocol.connection_lost(None)

    def abort(self) -> None:
        self.close()

    def write_eof(self) -> None:
        self.has_said_all = True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False
        if self.is_at_end:
            asyncio.get_running_loop().call_soon(self.end)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high


def a_wire(
    answer: Callable[[Ask], Reply], bounds: Bounds | None = None, *, room: int = 1 << 30
) -> tuple[Wire, Connection, Shared]:
    """A client's end, the connection that serves it, and what it shares with others."""
    shared = Shared(answer, bounds or Bounds(), wall=lambda: 0.0)
    return (*another(shared, room=room), shared)


def another(shared: Shared, *, room: int = 1 << 30) -> tuple[Wire, Connection]:
    """One more client of the same listener."""
    connection = Connection(shared)
    wire = Wire(connection, room=room)
    connection.connection_made(wire)
    return wire, connection


def answers(sent: bytes, *, to: list[str]) -> list[tuple[int, bytes]]:
    """Status and body of each response in ``sent`` to requests with the methods ``to``, in order.

    Fails for anything that is not HTTP, and for bytes that are left over.
    """
    found, left = [], sent
    methods = iter(to)
    while left:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=next(methods, "GET"), target="/", headers=[("Host", "h")]))
        client.send(h11.EndOfMessage())
        client.receive_data(left)
        response = client.next_event()
        assert isinstance(response, h11.Response)
        body = b""
        while isinstance(event := client.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage), event
        found.append((response.status_code, body))
        left = client.trailing_data[0]
    return found


@dataclass
class Time:
    """The loop's own time, which stands still until a test lets it pass."""

    now: float

    async def passes(self, seconds: float) -> None:
        """Let everybody react to it."""
        self.now += seconds
        for _ in range(5):
            await asyncio.sleep(0)
