"""One client's connection: requests in, one answer after the other out, everything bounded.

Never decides what is answered, never logs what was sent, and never waits: whatever takes too long
has a deadline, after which the connection is gone.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, cast

from rolesanywhere_sidecar.serving import http1
from rolesanywhere_sidecar.serving.crowd import Crowd
from rolesanywhere_sidecar.serving.exchange import Answer

log = logging.getLogger(__name__)

# Bytes read at once; of whatever a client sends, no more than this and one head are held.
READ_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many and how long, of one connection and of all of a listener's; times in seconds."""

    connections: int = 512
    """At once. A pod's workers may all start together; each is answered in a moment."""
    requests: int = 1000
    """On one connection, so that none is for ever."""
    idle_seconds: float = 10.0
    """From being accepted, or from an answer, to the first byte of the next request."""
    request_seconds: float = 10.0
    """From the first byte of a request to its last, however slowly they come."""
    answer_seconds: float = 10.0
    """For a client to take an answer."""
    linger_seconds: float = 1.0
    """For a client to hang up after its last answer. To hang up first, with bytes of it unread,
    would reset the connection, and the answer may be lost to that."""
    grace_seconds: float = 1.0
    """Nobody has to make room who came so recently and was not answered yet. With none, who comes
    is always let in: for a port that strangers reach, and that a kubelet must reach."""
    peer_connections: int | None = None
    """At once from one address; the eldest of them makes room."""


class Shared:
    """What the connections of one listener have in common. ``wall`` is seconds since 1970."""

    def __init__(
        self, answer: Answer, bounds: Bounds, *, wall: Callable[[], float] = time.time
    ) -> None:
        self.answer = answer
        self.bounds = bounds
        self.loop = asyncio.get_running_loop()
        self.crowd: Crowd[Connection] = Crowd(
            limit=bounds.connections,
            grace=bounds.grace_seconds,
            peer_limit=bounds.peer_connections,
        )
        # From now on every answer is its connection's last.
        self.closing = False
        self.somebody_left = asyncio.Event()
        # The loop reads for one connection at a time, and what was read is taken at once.
        self.scratch: Final = bytearray(READ_BYTES)
        self._wall = wall
        self._second = 0
        self._date = ""

    @property
    def date(self) -> str:
        """Now, as HTTP says it; made once a second."""
        second = int(self._wall())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
        return self._date


class Connection(asyncio.BufferedProtocol):
    """One client. Its requests are answered in their order, one for each turn of the loop."""

    _transport: asyncio.Transport

    def __init__(self, shared: Shared) -> None:
        self.since = 0.0
        self.peer = ""
        self._shared = shared
        self._bounds = shared.bounds
        self._loop = shared.loop
        self._requests = http1.Requests()
        self._left = shared.bounds.requests
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None
        self._unsent = False  # the client does not take its answer
        self._over = False  # it had its last answer

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.since = self._loop.time()
        self.peer = str((transport.get_extra_info("peername") or [""])[0])
        if not self._shared.crowd.admits(self, at=self.since):
            self._over = True
            self._transport.abort()
            return
        # Nothing is too much: of each client, no more than one answer is kept.
        self._transport.set_write_buffer_limits(high=0)
        self._expire(self._bounds.idle_seconds)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._shared.scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._over:
            return
        if not self._requests.has_begun:
            self._expire(self._bounds.request_seconds)
        self._requests.feed(memoryview(self._shared.scratch)[:nbytes])
        if self._turn is None:
            self._advance()

    def eof_received(self) -> bool:
        """The client has said all, and has every answer: while one is missing, nothing is read."""
        return False

    def pause_writing(self) -> None:
        self._unsent = True
        self._transport.pause_reading()
        self._expire(self._bounds.answer_seconds)

    def resume_writing(self) -> None:
        self._unsent = False
        self._sent()

    def connection_lost(self, problem: Exception | None) -> None:
        self._over = True
        for handle in (self._timer, self._turn):
            if handle is not None:
                handle.cancel()
        self._shared.crowd.leave(self)
        self._shared.somebody_left.set()

    # What its listener calls

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request is here, and nothing of an answer."""
        return not (self._requests.waiting or self._unsent or self._over)

    def hang_up(self) -> None:
        """Close if idle; whoever is being answered is told to close by its answer."""
        if self.is_idle:
            self._transport.close()

    def abort(self) -> None:
        """Close, whatever is under way."""
        self._transport.abort()

    # What happens in between

    def _advance(self) -> None:
        """Answer one request, if it is here as a whole."""
        self._turn = None
        try:
            request = self._requests.next()
        except http1.Malformed as wrong:
            self._send(http1.refused(wrong.status, date=self._shared.date), is_last=True)
            return
        if request is not None:
            self._answer(request)
        else:
            self._transport.resume_reading()

    def _answer(self, request: http1.Request) -> None:
        self._left -= 1
        is_last = request.is_last or not self._left or self._shared.closing
        try:
            reply = self._shared.answer(request.ask)
            sent = http1.written(
                reply,
                date=self._shared.date,
                is_last=is_last,
                to_head=request.ask.method == "HEAD",
            )
        except Exception:
            # A bug of ours, which shows the caller nothing.
            log.exception("request failed")
            sent = http1.refused(HTTPStatus.INTERNAL_SERVER_ERROR, date=self._shared.date)
            is_last = True
        self._send(sent, is_last=is_last)

    def _send(self, answer: bytes, *, is_last: bool) -> None:
        self._over = is_last
        self._shared.crowd.answered(self)
        self._transport.write(answer)
        if not self._unsent:
            self._sent()

    def _sent(self) -> None:
        """The client, or at least the kernel, has the whole answer."""
        if self._over:
            self._finish()
        elif self._requests.waiting:
            # The next one is for the loop's next turn: others have been waiting, too.
            self._transport.pause_reading()
            self._expire(self._bounds.request_seconds)
            self._turn = self._loop.call_soon(self._advance)
        else:
            self._transport.resume_reading()
            self._expire(self._bounds.idle_seconds)

    def _finish(self) -> None:
        """Say that this was the last answer, and let the client hang up."""
        try:
            self._transport.write_eof()
        except OSError:  # it has just gone
            self._transport.abort()
            return
        self._transport.resume_reading()
        self._expire(self._bounds.linger_seconds)

    def _expire(self, seconds: float) -> None:
        """Be gone in ``seconds``, unless this is called again before."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._on_time)

    def _on_time(self) -> None:
        # One timer for many deadlines: moving it with each request would cost more than that.
        if self._deadline > self._loop.time():
            self._timer = self._loop.call_at(self._deadline, self._on_time)
        else:
            self._timer = None
            self._transport.abort()
