"""HTTP/1.1 as a server speaks it: bytes in, requests out; replies in, bytes out.

h11 knows the grammar. What is stricter here is what it lets pass for old times' sake (folded
headers, bare line feeds), because a request that two readers understand differently is an attack
on one of them; and every size is bounded. No socket, no clock, no task; never keeps or repeats
what was malformed.
"""

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import h11

from rolesanywhere_sidecar.serving.exchange import Ask, Headers, Reply

# SDKs send less than a tenth of each.
MAX_HEADERS: Final = 64
# Bytes of a request line, and of one header.
MAX_LINE: Final = 4096
# Bytes of both together.
MAX_HEAD: Final = 16 * 1024

# RFC 9112, section 2.2 lets a reader take a bare LF, or CR, for the end of a line; we do not.
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
_END: Final = b"\r\n\r\n"

# Sent with every response, errors too. No versions, and nothing for a cache to keep.
_ALWAYS: Final = "Server: rolesanywhere\r\nCache-Control: no-store\r\n"
_FIRST_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n{_ALWAYS}" for status in HTTPStatus
}


class Malformed(Exception):
    """What arrived is no request that is answered here; ``status`` is what to say instead."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A request, and whether it is its connection's last."""

    ask: Ask
    is_last: bool


@dataclass(slots=True)
class Requests:
    """The requests in one connection's bytes, in their order."""

    _held: bytearray = field(default_factory=bytearray)
    _seen: int = 0
    _has_skipped: bool = False

    @property
    def has_begun(self) -> bool:
        """Whether anything of the next request is here; an empty line before it counts."""
        return bool(self._held) or self._has_skipped

    @property
    def waiting(self) -> int:
        """Bytes that came and belong to no request yet."""
        return len(self._held)

    def feed(self, received: bytes | bytearray | memoryview) -> None:
        """Take more bytes; whoever calls bounds them, by calling `next` in between."""
        self._held += received

    def next(self) -> Request | None:
        """The next whole request, or None until more bytes came. Raises `Malformed`."""
        held = self._held
        if held.startswith(b"\r\n") and not self._has_skipped:
            # One empty line before a request is passed over (RFC 9112, section 2.2).
            del held[:2]
            self._has_skipped = True
        if held and held != b"\r" and not held[:1].isalpha():
            # A TLS handshake begins with 0x16, and every method with a letter.
            raise Malformed(HTTPStatus.BAD_REQUEST)
        end = held.find(_END, max(0, self._seen - len(_END)))
        if end < 0:
            self._refuse_early()
            return None
        head = bytes(held[: end + len(_END)])
        del held[: len(head)]
        self._seen = 0
        self._has_skipped = False
        _refuse_loose(head)
        return _request(head)

    def _refuse_early(self) -> None:
        """Who cannot become a request is told so before it has sent all of it."""
        held = self._held
        if len(held) > MAX_HEAD or _BARE.search(held, max(0, self._seen - 1)):
            raise Malformed(HTTPStatus.BAD_REQUEST)
        self._seen = len(held)


def _refuse_loose(head: bytes) -> None:
    lines = head.split(b"\r\n")
    if (
        len(head) > MAX_HEAD
        or len(lines) > MAX_HEADERS + 3  # the request line, and two empty ones at the end
        or max(map(len, lines)) > MAX_LINE
        or any(line[:1] in (b" ", b"\t") for line in lines)
        or _BARE.search(head)
    ):
        raise Malformed(HTTPStatus.BAD_REQUEST)


def _request(head: bytes) -> Request:
    grammar = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    try:
        grammar.receive_data(head)
        event = grammar.next_event()
    except h11.RemoteProtocolError as wrong:
        # Not chained: its text may quote the request.
        raise Malformed(wrong.error_status_hint) from None
    if not isinstance(event, h11.Request):
        raise Malformed(HTTPStatus.BAD_REQUEST)
    if event.http_version not in (b"1.1", b"1.0"):
        # HTTP/2's preface, spoken without being asked, is a request of version 2.0.
        raise Malformed(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    headers = Headers((name.decode(), value.decode("latin-1")) for name, value in event.headers)
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise Malformed(HTTPStatus.EXPECTATION_FAILED)
    ask = Ask(event.method.decode(), event.target.decode(), headers)
    return Request(ask, is_last=_is_last(ask, event.http_version))


def _is_last(ask: Ask, version: bytes) -> bool:
    """Bodies are never read, so that nothing that follows one could be told from it."""
    headers = ask.headers
    return (
        version == b"1.0"
        or ask.method == "CONNECT"
        or headers.get("content-length", "0") != "0"
        or "transfer-encoding" in headers
        or "close" in headers.get("connection", "").lower().replace(" ", "").split(",")
    )


def written(reply: Reply, *, date: str, is_last: bool, to_head: bool = False) -> bytes:
    """``reply`` as bytes; without its body for HEAD. ``date`` is RFC 9110's (section 6.6.1).

    Raises `ValueError` for a header that would not be one.
    """
    body = reply.body.encode()
    more = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
    if more.count("\n") != len(reply.headers) or more.count("\r") != len(reply.headers):
        raise ValueError("a header holds a line break")
    end = "Connection: close\r\n\r\n" if is_last else "\r\n"
    head = (
        f"{_FIRST_LINES[reply.status]}Date: {date}\r\n{more}"
        f"Content-Type: {reply.content_type}; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n{end}"
    )
    return head.encode("latin-1") + (b"" if to_head else body)


def refused(status: int, *, date: str) -> bytes:
    """An answer to what was no request: empty, and the connection's last."""
    if status not in _FIRST_LINES:
        status = HTTPStatus.BAD_REQUEST
    head = f"{_FIRST_LINES[status]}Date: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return head.encode()
