"""One connection: what is read goes to the site, and its responses go back, one at a time.

Every wait is bounded. Never decides what is answered, but for what is no request.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Final, Protocol

from rolesanywhere_operator.ports.messages import Answer, Request, Response, Site, said
from rolesanywhere_operator.ports.reading import Fault, Reader, Stage, Whole
from rolesanywhere_operator.ports.waits import HEAD_SECONDS, Waits

log = logging.getLogger(__name__)

# Answers at a stretch: then it is the others' turn.
_IN_ONE_GO: Final = 16
# What a caller may make us hold of a body without being counted with the others.
_LITTLE: Final = 16 * 1024

_TOO_SLOW: Final = Fault(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time")
_CROWDED: Final = Fault(
    HTTPStatus.SERVICE_UNAVAILABLE, "more large requests came at once than there is room for"
)


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

    def holds(self, connection: "Connection", size: int) -> None:
        """So many bytes of what it was sent are kept, and it will say when they are not."""

    def date(self) -> str:
        """Now, as HTTP spells it."""
        ...


class Connection:
    """What one caller says and hears.

    A caller who ends their side has left: an API server whose patience is at its end does just so.
    """

    _line: Line
    _waits: Waits

    def __init__(self, site: Site, crowd: Crowd) -> None:
        self._site = site
        self._crowd = crowd
        self._loop = asyncio.get_running_loop()
        # Not the loop's own clock: uvloop's knows of no less than a millisecond.
        self._reader = Reader(largest_body=site.largest_body, clock=time.monotonic)
        self._waiting: deque[Whole] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stage, self._begun = Stage.BETWEEN, 0
        self._held = 0
        self._is_clogged = self._is_leaving = self._has_parted = False

    def opened(self, line: Line) -> None:
        """The caller is there."""
        self._line = line
        self._waits = Waits(
            too_slow=lambda: self._refuse(_TOO_SLOW), silent=self._part, is_busy=self._is_under_way
        )
        self._crowd.came(self)

    def lost(self) -> None:
        """The caller is gone, whoever ended it."""
        self._has_parted = True
        self._waits.end()
        if self._task:
            self._task.cancel()
        self._hold(0)
        self._crowd.went(self)
        # They hold us, too: what was kept for this caller goes at once, and not when the garbage
        # collector finds the circle.
        del self._line, self._waits
        self._reader.close()

    def leave(self) -> None:
        """End as soon as what is under way is answered."""
        self._is_leaving = True
        if not self._waiting and not self._is_under_way():
            self._part()

    def abort(self) -> None:
        """End now."""
        self._line.abort()

    def clogged(self, *, is_so: bool) -> None:
        """Whether the caller is slow to read; nothing more is answered until they have."""
        self._is_clogged = is_so
        self._go_on_and_read()

    def make_room(self) -> None:
        """Give up what is kept, for others."""
        self._refuse(_CROWDED)

    def received(self, data: bytes) -> None:
        """The caller said ``data``."""
        if self._has_parted:
            return
        self._waiting += self._reader.feed(data)
        if self._reader.stage is not self._stage or self._reader.begun != self._begun:
            self._watch(self._reader.stage)
        self._go_on()
        if self._reader.fault:
            self._refuse(self._reader.fault)
        elif self._waiting:
            self._read_or_not()
        self._weigh()

    def _is_under_way(self) -> bool:
        """Whether an answer is awaited, or the rest of a request."""
        return self._task is not None or self._stage is not Stage.BETWEEN

    def _watch(self, stage: Stage) -> None:
        """Wait for the rest of what has begun, and not too long."""
        self._stage, self._begun = stage, self._reader.begun
        self._is_to_go_ahead = self._reader.wants_a_go_ahead
        match stage:
            case Stage.BETWEEN:
                self._waits.for_the_rest(None)
            case Stage.HEAD:
                self._waits.for_the_rest(HEAD_SECONDS)
            case Stage.BODY:
                self._waits.for_the_rest(self._site.patience(self._reader.query))

    def _go_on(self) -> None:
        """Answer what waits, for as long as nobody has to be waited for."""
        for _ in range(_IN_ONE_GO):
            if self._task or self._is_clogged or self._has_parted:
                return
            if not self._waiting:
                self._let_go_ahead()
                return
            whole = self._waiting.popleft()
            answer = self._answer(whole.request)
            if isinstance(answer, Response):
                self._say(answer, whole)
            else:
                self._task = self._loop.create_task(self._say_later(answer, whole))
        self._loop.call_soon(self._go_on_and_read)

    def _go_on_and_read(self) -> None:
        if not self._has_parted:
            self._go_on()
            self._read_or_not()
            self._weigh()

    def _let_go_ahead(self) -> None:
        """Not before the answers to what came before: it would be taken for one of them."""
        if self._is_to_go_ahead:
            self._is_to_go_ahead = False
            self._line.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _weigh(self) -> None:
        size = self._reader.held + sum(len(whole.request.body) for whole in self._waiting)
        self._hold(size if size > _LITTLE and not self._has_parted else 0)

    def _hold(self, size: int) -> None:
        if size != self._held:
            self._held = size
            self._crowd.holds(self, size)

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
        self._go_on_and_read()

    def _say(self, response: Response, whole: Whole) -> None:
        is_last = response.last or not whole.goes_on or (self._is_leaving and not self._waiting)
        self._line.write(
            response.encoded(
                date=self._crowd.date(), is_last=is_last, bodiless=whole.request.method == "HEAD"
            )
        )
        self._waits.said()
        if is_last:
            self._part()

    def _refuse(self, fault: Fault) -> None:
        """Say why there is no answer, and listen to nothing more.

        What is under way is given up: its caller does not keep to the rules.
        """
        if self._has_parted:
            return
        fault = self._reader.give_up(fault)
        if self._task:
            self._task.cancel()
        self._site.refused(fault.status)
        response = said(fault.status, fault.sentence)
        self._line.write(response.encoded(date=self._crowd.date(), is_last=True))
        self._has_parted = True
        self._waiting.clear()
        self._hold(0)
        self._stage = Stage.BETWEEN
        # Closing over what has not been read would take the answer away from its reader.
        self._waits.to_part(self._part)

    def _part(self) -> None:
        self._has_parted = True
        self._waiting.clear()
        self._hold(0)
        self._waits.to_part(self._line.abort)
        self._line.close()

    def _read_or_not(self) -> None:
        """Read on while an answer is awaited, too: else nobody notices that its caller left."""
        if self._waiting or self._is_clogged:
            self._line.pause_reading()
        else:
            self._line.resume_reading()


def _failed(request: Request, mistake: Exception) -> Response:
    """A mistake of ours; the path is one that we have, and no secret."""
    log.error("request failed", extra={"path": request.path}, exc_info=mistake)
    return said(HTTPStatus.INTERNAL_SERVER_ERROR, "the request failed here; the log says more")
