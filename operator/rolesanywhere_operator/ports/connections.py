"""One connection: what is read goes to the site, and its responses go back, one at a time.

Every wait is bounded. Never decides what is answered, but for what is no request.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Final, Protocol

from rolesanywhere_operator.ports.messages import Answer, Request, Response, Site, said
from rolesanywhere_operator.ports.reading import Fault, Reader, Stage, Whole

log = logging.getLogger(__name__)

# From the first byte of a head to its last.
HEAD_SECONDS: Final = 10.0
# Longer than an API server keeps a connection that it does not use (90 s): who closes first loses
# nothing, while a request that crosses our closing on its way is lost.
IDLE_SECONDS: Final = 180.0
# How long a caller gets who still sends, or is slow to read, once there is nothing more to say.
PARTING_SECONDS: Final = 2.0


class Line(Protocol):
    """What a connection needs of a transport."""

    def write(self, data: bytes) -> None:
        """Send it, some time."""

    def close(self) -> None:
        """End, once all is sent."""

    def abort(self) -> None:
        """End now."""

    def pause_reading(self) -> None:
        """Read nothing more for now."""

    def resume_reading(self) -> None:
        """Read again."""


class Crowd(Protocol):
    """Who keeps count of connections."""

    def came(self, connection: "Connection") -> None:
        """One more."""

    def went(self, connection: "Connection") -> None:
        """One less."""

    def date(self) -> str:
        """Now, as HTTP spells it."""
        ...


class Connection:
    """What one caller says and hears."""

    _line: Line
    _idle: asyncio.TimerHandle

    def __init__(self, site: Site, crowd: Crowd) -> None:
        self._site = site
        self._crowd = crowd
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(largest_body=site.largest_body, clock=self._loop.time)
        self._waiting: deque[Whole] = deque()
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._stage = Stage.BETWEEN
        self._last_said = self._loop.time()
        self._is_clogged = self._is_leaving = self._has_parted = False

    def opened(self, line: Line) -> None:
        """The caller is there."""
        self._line = line
        self._idle = self._loop.call_later(IDLE_SECONDS, self._look_whether_idle)
        self._crowd.came(self)

    def lost(self) -> None:
        """The caller is gone, whoever ended it."""
        self._has_parted = True
        self._idle.cancel()
        self._watch(Stage.BETWEEN)
        if self._task:
            self._task.cancel()
        self._crowd.went(self)

    def leave(self) -> None:
        """End as soon as what is under way is answered."""
        self._is_leaving = True
        if not self._is_at_work:
            self._part()

    def abort(self) -> None:
        """End now."""
        self._line.abort()

    def clogged(self, *, is_so: bool) -> None:
        """Whether the caller is slow to read; nothing more is answered until they have."""
        self._is_clogged = is_so
        self._go_on()
        self._read_or_not()

    def received(self, data: bytes) -> None:
        """The caller said ``data``."""
        if self._has_parted:
            return
        self._waiting += self._reader.feed(data)
        if self._reader.stage is not self._stage:
            self._watch(self._reader.stage)
        self._go_on()
        if self._reader.fault:
            self._refuse(self._reader.fault)
        elif self._waiting:
            self._read_or_not()

    @property
    def _is_at_work(self) -> bool:
        return bool(self._task or self._waiting or self._stage is not Stage.BETWEEN)

    def _watch(self, stage: Stage) -> None:
        """Wait for the rest of what has begun, and not too long."""
        self._stage = stage
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None
        if stage is Stage.BETWEEN:
            return
        patience = HEAD_SECONDS if stage is Stage.HEAD else self._site.patience(self._reader.query)
        self._deadline = self._loop.call_later(patience, self._too_slow)
        if self._reader.wants_a_go_ahead and not self._reader.fault:
            self._line.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _too_slow(self) -> None:
        self._refuse(Fault(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time"))

    def _go_on(self) -> None:
        """Answer what waits, for as long as nobody has to be waited for."""
        while self._waiting and not (self._task or self._is_clogged or self._has_parted):
            whole = self._waiting.popleft()
            answer = self._answer(whole.request)
            if isinstance(answer, Response):
                self._say(answer, whole)
            else:
                self._task = self._loop.create_task(self._say_later(answer, whole))

    def _answer(self, request: Request) -> Answer:
        try:
            return self._site.answer(request)
        except Exception as mistake:
            return _failed(request, mistake)

    async def _say_later(self, answer: Awaitable[Response], whole: Whole) -> None:
        try:
            response = await answer
        except Exception as mistake:
            response = _failed(whole.request, mistake)
        self._task = None
        self._say(response, whole)
        self._go_on()
        self._read_or_not()

    def _say(self, response: Response, whole: Whole) -> None:
        is_last = response.last or not whole.goes_on or (self._is_leaving and not self._waiting)
        self._line.write(
            response.encoded(
                date=self._crowd.date(), is_last=is_last, bodiless=whole.request.method == "HEAD"
            )
        )
        self._last_said = self._loop.time()
        if is_last:
            self._part()

    def _refuse(self, fault: Fault) -> None:
        """Say why there is no answer, and listen to nothing more.

        What is under way is given up: its caller does not keep to the rules.
        """
        if self._has_parted:
            return
        self._site.refused(fault.status)
        response = said(fault.status, fault.sentence)
        self._line.write(response.encoded(date=self._crowd.date(), is_last=True))
        self._has_parted = True
        self._watch(Stage.BETWEEN)
        self._idle.cancel()
        # Closing over what has not been read would take the answer away from its reader.
        self._idle = self._loop.call_later(PARTING_SECONDS, self._part)

    def _part(self) -> None:
        self._has_parted = True
        self._idle.cancel()
        self._idle = self._loop.call_later(PARTING_SECONDS, self._line.abort)
        self._line.close()

    def _read_or_not(self) -> None:
        """Read on while an answer is awaited, too: else nobody notices that its caller left."""
        if self._waiting or self._is_clogged:
            self._line.pause_reading()
        else:
            self._line.resume_reading()

    def _look_whether_idle(self) -> None:
        """One timer for all requests: to set one for each would cost more than to read it."""
        left = self._last_said + IDLE_SECONDS - self._loop.time()
        if self._is_at_work:
            left = IDLE_SECONDS
        if left > 0:
            self._idle = self._loop.call_later(left, self._look_whether_idle)
        else:
            self._part()


def _failed(request: Request, mistake: Exception) -> Response:
    """A mistake of ours; the path is one that we have, and no secret."""
    log.error("request failed", extra={"path": request.path}, exc_info=mistake)
    return said(HTTPStatus.INTERNAL_SERVER_ERROR, "the request failed here; the log says more")
