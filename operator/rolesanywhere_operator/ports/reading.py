"""Bytes in, requests out: HTTP/1.1 without a socket.

The grammar is llhttp's (Node's own, strict, by httptools). Heads and bodies are bounded here. Never
waits and never answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Final

import httptools

from rolesanywhere_operator.ports.messages import Request

# What a request may have besides its body: its line, its headers, and what is around its chunks.
LARGEST_HEAD: Final = 64 * 1024


class Stage(Enum):
    """What of a request has come: nothing, a part of its head, or its head and not all else."""

    BETWEEN = "between"
    HEAD = "head"
    BODY = "body"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why no request can be made of what came; what comes after it cannot be read either."""

    status: HTTPStatus
    sentence: str


@dataclass(frozen=True, slots=True)
class Whole:
    """A request that came whole, and whether its caller wants to go on after it."""

    request: Request
    goes_on: bool


class Reader:
    """Reads what one caller says, of bodies up to ``largest_body`` bytes, by ``clock``.

    ``begun`` counts the requests that were begun.
    """

    def __init__(self, *, largest_body: int, clock: Callable[[], float]) -> None:
        self._largest_body = largest_body
        self._clock = clock
        self._parser = httptools.HttpRequestParser(self)
        self._came: list[Whole] = []
        self.begun = -1
        self.fault: Fault | None = None
        self.on_message_begin()
        self.stage = Stage.BETWEEN

    @property
    def query(self) -> str:
        """Of the request whose head came last."""
        return self._query

    @property
    def held(self) -> int:
        """Bytes of a body of which more is to come."""
        return self._size if self.stage is Stage.BODY and not self.fault else 0

    @property
    def wants_a_go_ahead(self) -> bool:
        """Whether its caller holds back the body until told to go on (RFC 9110, section 10.1.1)."""
        waits = self._headers.get("expect", "").lower() == "100-continue"
        return waits and self.stage is Stage.BODY and not (self._size or self.fault)

    def feed(self, data: bytes) -> list[Whole]:
        """The requests that ``data`` made whole; whether there is a `fault` is to be looked at."""
        if self.fault:
            return []
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(HTTPStatus.BAD_REQUEST, "only HTTP/1.1 is spoken here")
        except httptools.HttpParserError as wrong:
            self._fail(HTTPStatus.BAD_REQUEST, f"the request is not HTTP/1.1: {wrong}")
        # Where another request ended, how much is of this one is not known, and it is not much.
        if self.stage is not Stage.BETWEEN and not self._came:
            self._fed += len(data)
            if self._fed - self._size > LARGEST_HEAD:
                self._fail(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    f"got more than {LARGEST_HEAD} bytes besides a body",
                )
        came, self._came = self._came, []
        return came

    def give_up(self, fault: Fault) -> Fault:
        """Read nothing more, because of ``fault`` or of an earlier one, which it returns."""
        self.fault = self.fault or fault
        self._body.clear()
        return self.fault

    def close(self) -> None:
        """Read nothing more: the parser holds us, and what came would be kept with it."""
        del self._parser

    def _fail(self, status: HTTPStatus, sentence: str) -> None:
        self.give_up(Fault(status, sentence))

    # What llhttp calls, in the order in which it finds things

    def on_message_begin(self) -> None:
        self.stage = Stage.HEAD
        self.begun += 1
        self._fed = self._size = 0
        self._url = b""
        self._query = ""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.stage is Stage.HEAD:  # What trails a body says nothing that is wanted.
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.stage = Stage.BODY
        self._since = self._clock()
        self._path, _, self._query = self._url.decode("latin-1").partition("?")
        # llhttp has seen to it that this is a number.
        self._bound(int(self._headers.get("content-length") or 0))

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        self._bound(self._size)
        if not self.fault:
            self._body.append(part)

    def on_message_complete(self) -> None:
        self.stage = Stage.BETWEEN
        if self.fault:
            return
        request = Request(
            method=self._parser.get_method().decode("latin-1"),
            path=self._path,
            query=self._query,
            headers=self._headers,
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
            since=self._since,
        )
        is_current = self._parser.get_http_version() == "1.1"
        self._came.append(Whole(request, is_current and self._parser.should_keep_alive()))

    def _bound(self, size: int) -> None:
        if size > self._largest_body:
            self._fail(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"got a body of more than {self._largest_body} bytes",
            )
