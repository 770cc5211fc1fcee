"""Send one request byte for byte over a plain socket and read the whole answer.

An HTTP client would tidy the request up; tests of what the wire carries cannot have that.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.wire import WireRequest

TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Reply:
    """Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def as_bytes(request: WireRequest) -> bytes:
    """The request as HTTP/1.1, on a connection that ends with the answer."""
    length = [] if request.get("transfer-encoding") else [f"Content-Length: {len(request.body)}"]
    lines = [
        f"{request.method} {request.target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in request.headers),
        *length,
        "Connection: close",
        "\r\n",
    ]
    return "\r\n".join(lines).encode("latin-1") + request.body


async def send(url: str, request: WireRequest) -> Reply:
    """The service's reply. Raises ``ConnectionError`` if there is none."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(as_bytes(request))
        raw = await asyncio.wait_for(reader.read(), TIMEOUT_SECONDS)
    finally:
        writer.close()
    if not raw:
        raise ConnectionError("closed without an answer")
    return _parse(raw)


def _parse(raw: bytes) -> Reply:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return Reply(int(first.split(" ")[1]), headers, body)
