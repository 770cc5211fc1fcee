"""One connection to a service: a request, its reply, and whether another may follow.

Keeps no time and never retries: that is its owner's. Bounds what a reply may hold.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import h11

from rolesanywhere_sidecar.failures import InvalidReply
from rolesanywhere_sidecar.service.dialing import USER_AGENT, Streams, Unreached, Way, address_of
from rolesanywhere_sidecar.service.sessions import Reply
from rolesanywhere_sidecar.signing import SignedRequest

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

_ENDPOINT: Final = "check that the endpoint is Roles Anywhere's"


@dataclass(slots=True, eq=False)
class Conversation:
    """An open connection; ``talk`` knows how far its request and reply are."""

    way: Way
    streams: Streams
    talk: h11.Connection = field(
        default_factory=lambda: h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
    )
    received: int = 0
    """Bytes of the reply at hand."""
    is_kept: bool = False
    """Whether a reply came before, so that the service may have hung up meanwhile."""

    async def post(self, request: SignedRequest) -> Reply:
        """The reply. Raises `dialing.Unreached`, `failures.InvalidReply` or `OSError`."""
        writer = self.streams[1]
        headers = {**_UNSIGNED, **request.headers, "content-length": str(len(request.body))}
        # What is encoded is signed: nobody may encode it anew.
        asked = h11.Request(method="POST", target=request.target, headers=list(headers.items()))
        parts = (asked, h11.Data(data=request.body), h11.EndOfMessage())
        writer.write(b"".join(self.talk.send(part) or b"" for part in parts))
        await writer.drain()
        status, told, body = 0, {}, bytearray()
        while True:
            match await self._event():
                case h11.Response() as head:
                    status = head.status_code
                    told = {name.decode(): value.decode("latin-1") for name, value in head.headers}
                case h11.Data(data=data):
                    body += data
                case h11.EndOfMessage():
                    return Reply(status, told, bytes(body))

    def may_go_on(self) -> bool:
        """Whether another request may follow the reply; makes ready for it."""
        is_over = self.talk.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}
        if not is_over or self.talk.trailing_data[0]:
            return False
        self.talk.start_next_cycle()
        self.is_kept, self.received = True, 0
        return True

    async def is_silent(self) -> bool:
        """Whether the service has said nothing since its reply: no end, and no "408".

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

    async def _event(self) -> object:
        """What the service said next."""
        ended = False
        while True:
            try:
                event = self.talk.next_event()
            except h11.RemoteProtocolError:
                if ended:
                    raise Unreached("it closed the connection in the middle", "") from None
                raise Unreached("it does not answer as an HTTP server", _ENDPOINT) from None
            if event is not h11.NEED_DATA:
                return event
            data = await self.streams[0].read(_READ_BYTES)
            ended = not data
            self.received += len(data)
            if self.received > LARGEST_REPLY_BYTES:
                where = address_of(self.way.host, self.way.port)
                said = f"{where} answered with more than {LARGEST_REPLY_BYTES} bytes"
                raise InvalidReply(said, hint=_ENDPOINT)
            self.talk.receive_data(data)
