"""What goes over a port: requests, responses, and the site that makes these of those.

Never touches a socket, nor a clock.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

PLAIN: Final = "text/plain; charset=utf-8"

# A request without much of a body, and how many seconds that may take to come.
_SMALL_BODY: Final = 1024
_USUAL_PATIENCE_SECONDS: Final = 5.0
_USUAL_ROOM: Final = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that came whole; names of ``headers`` are in lower case.

    ``since`` is when its head had come, in seconds of `time.monotonic`.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer; if it is the ``last``, the connection ends with it."""

    status: HTTPStatus = HTTPStatus.OK
    body: bytes = b""
    content_type: str = PLAIN
    headers: tuple[tuple[str, str], ...] = ()
    last: bool = False

    def encoded(self, *, date: str, is_last: bool, bodiless: bool = False) -> bytes:
        """As it goes out at ``date`` (RFC 9112); ``bodiless`` answers HEAD."""
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            f"Date: {date}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        if is_last:
            lines.append("Connection: close")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return head if bodiless else head + self.body


# What takes no waiting is answered at once: a task for each would cost more than most answers.
Answer = Response | Awaitable[Response]
Page = Callable[[Request], Answer]


def _usual(_query: str) -> float:
    return _USUAL_PATIENCE_SECONDS


def _unnoticed(_status: HTTPStatus) -> None:
    """Nobody counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a port answers, by path and method, and what it takes in.

    ``patience`` says for a query how many seconds its request's body may take to come; ``refused``
    is told the status of what no page was shown. ``room`` is how many bytes of large bodies, of all
    callers together, are kept until they are whole.
    """

    pages: Mapping[str, Mapping[str, Page]]
    largest_body: int = _SMALL_BODY
    room: int = _USUAL_ROOM
    patience: Callable[[str], float] = _usual
    refused: Callable[[HTTPStatus], None] = _unnoticed

    def answer(self, request: Request) -> Answer:
        """What its page says; for paths and methods that have none, that they have none."""
        methods = self.pages.get(request.path)
        if methods is None:
            return said(HTTPStatus.NOT_FOUND, "there is nothing at this path")
        page = methods.get("GET" if request.method == "HEAD" else request.method)
        if page is None:
            allowed = ", ".join(methods)
            return Response(
                status=HTTPStatus.METHOD_NOT_ALLOWED,
                body=f"got {request.method}, expected {allowed}\n".encode(),
                headers=(("Allow", allowed),),
            )
        return page(request)


def said(status: HTTPStatus, sentence: str) -> Response:
    """A sentence as the whole answer."""
    return Response(status=status, body=f"{sentence}\n".encode())
