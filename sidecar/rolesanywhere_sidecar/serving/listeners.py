"""An open port: bound, listened on, and closed without losing anybody's answer.

Never decides what is answered; what one connection may do is `connections`' business.
"""

import array
import asyncio
import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.serving.connections import Bounds, Connection, Shared
from rolesanywhere_sidecar.serving.exchange import Answer

# Seconds that answers under way get when the listener closes.
DRAIN_SECONDS: Final = 3.0
# Of these, what idle clients get to send one more request, which is answered with "close".
PARTING_SECONDS: Final = 0.3

# Of all connections, the part that probes get: a kubelet needs one, and a scrape another.
_PROBES_PART: Final = 5

_BACKLOG: Final = 512

# How long whom the kernel had taken on before the port was shut takes to be at our door.
_SETTLING_SECONDS: Final = 0.02
# Of the loop, until whoever was there is among the crowd: asyncio accepts all in one, begins each
# connection in the next, and makes it in the third. Where the machine was busy, the seconds of
# before may have ended in the very turn that accepts.
_SETTLING_TURNS: Final = 5

# linux/filter.h: each instruction's code, jumps if true and if false, and operand. This program
# drops what would begin a connection, TCP's SYN without ACK (RFC 9293, section 3.1), and no more.
_SO_ATTACH_FILTER: Final = 26
_DROP_NEWCOMERS: Final = (
    (0x30, 0, 0, 13),  # load the byte of flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # unless it is SYN alone, skip one
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # pass
)


class PortUnavailable(RolesAnywhereError):
    """A port cannot be listened on."""

    code = "PortUnavailable"


class Listener:
    """An open port that answers with ``answer``."""

    def __init__(self, shared: Shared, server: asyncio.Server, at: socket.socket) -> None:
        self._shared = shared
        self._server = server
        self._at = at

    @classmethod
    async def open(
        cls, answer: Answer, at: socket.socket, *, bounds: Bounds | None = None
    ) -> "Listener":
        """Listen on ``at``, which is bound."""
        shared = Shared(answer, bounds or Bounds())
        # Inherited by its connections; asyncio sets it only where a socket names its protocol.
        at.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = await shared.loop.create_server(
            lambda: Connection(shared), sock=at, backlog=_BACKLOG
        )
        return cls(shared, server, at)

    async def close(self) -> None:
        """Take no more connections, and finish those that there are, within seconds.

        Whoever has connected and sent a request before gets its answer, also if we have not seen
        either yet; who is idle may ask once more, and is then hung up on.
        """
        self._shared.closing = True
        _shut_out_newcomers(self._at)
        await asyncio.sleep(_SETTLING_SECONDS)
        for _ in range(_SETTLING_TURNS):
            await asyncio.sleep(0)
        self._server.close()
        await self._until_empty(PARTING_SECONDS)
        for connected in self._shared.crowd.members():
            connected.hang_up()
        await self._until_empty(DRAIN_SECONDS - PARTING_SECONDS)
        for connected in self._shared.crowd.members():
            connected.abort()

    async def _until_empty(self, seconds: float) -> None:
        """Until everybody has gone, or ``seconds`` have."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._shared.crowd:
                    self._shared.somebody_left.clear()
                    await self._shared.somebody_left.wait()


def _shut_out_newcomers(at: socket.socket) -> None:
    """Have the kernel take nobody on any more, and keep those whom it has.

    A socket that is closed resets clients who came between the last accept and the close, with
    their requests unread. Those who are shut out knock again after a second, and are refused by
    then, or taken on by the next sidecar.
    """
    program = array.array("B", b"".join(struct.pack("=HBBI", *one) for one in _DROP_NEWCOMERS))
    pointer = struct.pack("HP", len(_DROP_NEWCOMERS), program.buffer_info()[0])
    with suppress(OSError):  # a sandbox that knows of no filters; then the close is a little ruder
        at.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)


def bounds_within(connections: int) -> tuple[Bounds, Bounds]:
    """What the endpoint's listener and the probes' may do that share so many connections.

    The probes' port is open to the cluster. There nobody is refused, because it might be the
    kubelet, and no address can have all of it.
    """
    probes = connections // _PROBES_PART
    return (
        Bounds(connections=connections - probes),
        Bounds(connections=probes, peer_connections=max(1, probes // 4), grace_seconds=0.0),
    )


def loopback(port: int, *, hop_limit: int | None = None) -> socket.socket:
    """A socket that only this pod can reach. Raises `PortUnavailable`.

    ``hop_limit`` is the time to live of what its connections send, which inherit it.
    """
    with _explained(f"127.0.0.1 port {port}"):
        bound = socket.create_server(("127.0.0.1", port))
    if hop_limit is not None:
        bound.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop_limit)
    return bound


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
