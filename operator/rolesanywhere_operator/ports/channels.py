"""What carries a connection: a TCP transport as it is, or TLS on top of it.

TLS is OpenSSL's between two buffers (`ssl.MemoryBIO`). asyncio's own would do, but it holds 256 KiB
for each connection, and an API server opens many. Never looks at what is carried.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Final, cast

from rolesanywhere_operator.ports.connections import Connection

# From the first byte to the last of a handshake.
HANDSHAKE_SECONDS: Final = 10.0
# As much as one TLS record holds.
_RECORD: Final = 16 * 1024
# What is sent at once even while there is more to read: the transport says when it is too much.
_ENOUGH: Final = 4 * _RECORD


class PlainChannel(asyncio.Protocol):
    """A connection over TCP."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # What a TCP server gets; uvloop's is one by its methods alone.
        self._connection.opened(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self._connection.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.lost()

    def pause_writing(self) -> None:
        self._connection.clogged(is_so=True)

    def resume_writing(self) -> None:
        self._connection.clogged(is_so=False)


class TlsChannel(asyncio.Protocol):
    """A connection over TLS, which is a `Line` to the connection."""

    _transport: asyncio.Transport

    def __init__(self, connection: Connection, tls: ssl.SSLContext) -> None:
        self._connection = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_open = False
        self._is_paused = False
        self._is_reading = False

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        loop = asyncio.get_running_loop()
        self._handshake = loop.call_later(HANDSHAKE_SECONDS, self._transport.abort)
        self._connection.opened(self)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self._turn()

    def connection_lost(self, exc: Exception | None) -> None:
        self._handshake.cancel()
        self._connection.lost()

    def pause_writing(self) -> None:
        self._connection.clogged(is_so=True)

    def resume_writing(self) -> None:
        self._connection.clogged(is_so=False)

    # The connection's side

    def write(self, data: bytes) -> None:
        """Send it, some time."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        if not self._is_reading or self._outgoing.pending > _ENOUGH:
            self._flush()

    def close(self) -> None:
        """Say so (RFC 8446, section 6.1), and end once all is sent."""
        with suppress(ssl.SSLError):  # It wants to hear the same of the caller; nobody waits.
            self._tls.unwrap()
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """End now."""
        self._transport.abort()

    def pause_reading(self) -> None:
        """Read nothing more for now."""
        self._is_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again, beginning with what came before the pause."""
        self._is_paused = False
        self._transport.resume_reading()
        if not self._is_reading:
            self._turn()

    def _turn(self) -> None:
        """Go on with what has come, and send what comes of it."""
        self._is_reading = True
        try:
            if not self._is_open:
                self._shake()
            while not self._is_paused:
                if not (data := self._tls.read(_RECORD)):
                    self._transport.close()
                    break
                self._connection.received(data)
                # Else nothing is left of what came, and to be told so by an error takes longer.
                if not (self._incoming.pending or self._tls.pending()):
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._flush()  # An alert that says what was wrong.
            self._transport.close()
        finally:
            self._is_reading = False
        self._flush()

    def _shake(self) -> None:
        self._tls.do_handshake()
        self._handshake.cancel()
        self._is_open = True

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())
