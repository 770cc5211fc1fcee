"""The way to the endpoint, one step at a time: name, connection, TLS, and what time it is there.

Each function touches the network once, by the code that ``serve`` dials with, and returns what it
saw; judging that is `reachability`, and bounding it is `journey`. Sends no credentials and no
signature.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from socket import SOCK_STREAM
from typing import Final
from urllib.parse import urlsplit

import h11
from cryptography import x509

from rolesanywhere_sidecar.service.dialing import (
    Streams,
    Unreached,
    Way,
    address_of,
    dial,
    explained,
)
from rolesanywhere_sidecar.service.proxies import Proxy

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_READ_BYTES: Final = 4096
_MOST_READS: Final = 16


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a name resolved to, and in how many seconds; or why not."""

    addresses: tuple[str, ...] = ()
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Connected:
    """How many seconds it took to connect; or why it did not."""

    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Shaken:
    """How TLS went. ``served`` is the server's certificate; ``untrusted`` says why it is not
    believed, ``problem`` why there was no handshake at all."""

    served: x509.Certificate | None = field(default=None, repr=False)
    version: str = ""
    untrusted: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Timed:
    """The service's time, and ours before and after it was told, all aware; or why it was not."""

    theirs: datetime | None = None
    sent: datetime | None = None
    received: datetime | None = None
    problem: str = ""


def way_to(url: str, *, proxy: Proxy | None, context: ssl.SSLContext) -> Way:
    """The way to the service at ``url``, whose shape the settings have checked."""
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return Way(parts.hostname or "", port, context if parts.scheme == "https" else None, proxy)


async def resolve(host: str, port: int) -> Resolved:
    """Ask the system's resolver."""
    start = time.monotonic()
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        return Resolved(problem=getattr(problem, "strerror", None) or "the name is impossible")
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    return Resolved(addresses, time.monotonic() - start)


async def connect(way: Way) -> Connected:
    """Open a connection to the proxy, or to the service where there is none, and close it."""
    first = way.proxy or way
    start = time.monotonic()
    try:
        async with _dialled(Way(first.host, first.port, None, None)):
            return Connected(time.monotonic() - start)
    except OSError as problem:
        return Connected(problem=explained(problem).reason)


async def shake_hands(way: Way) -> Shaken:
    """TLS with the service; if its certificate is not believed, whose is it?"""
    try:
        async with _dialled(way) as (_, writer):
            return _shaken(writer)
    except ssl.SSLCertVerificationError as problem:
        served = (await _served_regardless(way)).served
        return Shaken(served, untrusted=problem.verify_message or "unknown reason")
    except Unreached as problem:
        return Shaken(problem=problem.reason)
    except OSError as problem:
        return Shaken(problem=explained(problem).reason)


async def ask_time(way: Way, *, now: Callable[[], datetime]) -> Timed:
    """The Date header of whatever the service answers to an unsigned request."""
    try:
        async with _dialled(way) as (reader, writer):
            sent = now()
            headers = await _answer_to_get(reader, writer, host=address_of(way.host, way.port))
            received = now()
    except Unreached as problem:
        return Timed(problem=problem.reason)
    except OSError as problem:
        return Timed(problem=explained(problem).reason)
    except h11.RemoteProtocolError:
        return Timed(problem="something answers that is no HTTP")
    try:
        theirs = parsedate_to_datetime(headers[b"date"].decode("latin-1"))
    except (KeyError, ValueError):
        return Timed(problem="its answer has no Date")
    return Timed(theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC), sent, received)


@asynccontextmanager
async def _dialled(way: Way) -> AsyncIterator[Streams]:
    reader, writer = await dial(way)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _answer_to_get(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, host: str
) -> dict[bytes, bytes]:
    """The headers, by their names in lower case; empty when the connection ends before."""
    talk = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target="/", headers=[("Host", host)])
    writer.write((talk.send(request) or b"") + (talk.send(h11.EndOfMessage()) or b""))
    for _ in range(_MOST_READS):
        event = talk.next_event()
        if isinstance(event, h11.Response):
            return dict(event.headers)
        if event is h11.NEED_DATA:
            talk.receive_data(await reader.read(_READ_BYTES))
    return {}


async def _served_regardless(way: Way) -> Shaken:
    """What a server that is not believed shows: nothing is sent to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with _dialled(replace(way, context=context)) as (_, writer):
            return _shaken(writer)
    except (Unreached, OSError):
        return Shaken()


def _shaken(writer: asyncio.StreamWriter) -> Shaken:
    secured: ssl.SSLObject = writer.get_extra_info("ssl_object")
    der = secured.getpeercert(binary_form=True)
    try:
        served = x509.load_der_x509_certificate(der) if der else None
    except ValueError:
        served = None
    return Shaken(served, secured.version() or "")
