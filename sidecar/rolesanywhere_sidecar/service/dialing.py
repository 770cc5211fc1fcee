"""A connection to a service: TCP of either family, a proxy's tunnel where there is one, TLS.

Never retries, and keeps no time: whoever dials bounds it. What was opened is closed again, when
anything fails or the caller is cancelled.
"""

import asyncio
import os
import re
import socket
import ssl
from dataclasses import dataclass
from typing import Final, TypeAlias

import h11

from rolesanywhere_sidecar.service.proxies import Proxy
from rolesanywhere_sidecar.version import PROGRAM, VERSION

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

USER_AGENT: Final = f"{PROGRAM}/{VERSION}"

# Seconds after which the next of a name's addresses is tried beside the first (RFC 8305).
_NEXT_ADDRESS_SECONDS: Final = 0.25
# Of a proxy's answer, of which only the first line counts.
_LARGEST_ANSWER: Final = 64 * 1024

NETWORK: Final = "check network policies, firewalls and proxies on the way"


class Unreached(Exception):
    """No answer, and why: the end of a sentence about an address, and what to do."""

    def __init__(self, reason: str, hint: str = NETWORK) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Way:
    """Where to, and how. Without a context there is no TLS; a proxy's own TLS has the same."""

    host: str
    port: int
    context: ssl.SSLContext | None
    proxy: Proxy | None


def address_of(host: str, port: int) -> str:
    """Host and port as they are written together."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def dial(way: Way) -> Streams:
    """A connection on which the service can be asked. Raises `Unreached` or `OSError`."""
    first = way.proxy or way
    reader, writer = await asyncio.open_connection(
        first.host, first.port, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS
    )
    try:
        if way.proxy is not None:
            if way.proxy.is_tls and way.context is not None:
                await writer.start_tls(way.context, server_hostname=way.proxy.host)
            await _tunnel(reader, writer, way.proxy, to=address_of(way.host, way.port))
        if way.context is not None:
            await writer.start_tls(way.context, server_hostname=way.host)
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


async def _tunnel(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: Proxy, *, to: str
) -> None:
    """Ask for a tunnel ``to`` an address (RFC 9110, section 9.3.6)."""
    talk = h11.Connection(h11.CLIENT)
    headers = [("Host", to), ("User-Agent", USER_AGENT)]
    if proxy.authorization:
        headers.append(("Proxy-Authorization", proxy.authorization))
    asked = talk.send(h11.Request(method="CONNECT", target=to, headers=headers))
    writer.write((asked or b"") + (talk.send(h11.EndOfMessage()) or b""))
    status = await _answer_to_connect(talk, reader)
    if not 200 <= status < 300:
        raise Unreached(f"the proxy answered {status}", "let the proxy pass this host")


async def _answer_to_connect(talk: h11.Connection, reader: asyncio.StreamReader) -> int:
    received = 0
    try:
        while received < _LARGEST_ANSWER:
            event = talk.next_event()
            if isinstance(event, h11.Response):
                return event.status_code
            if event is h11.NEED_DATA:
                data = await reader.read(4096)
                received += len(data) or _LARGEST_ANSWER
                talk.receive_data(data)
    except h11.RemoteProtocolError:
        pass
    raise Unreached("the proxy does not answer as an HTTP proxy", "check the proxy's URL")


def explained(problem: OSError) -> Unreached:
    """What the system's error means to whoever wants to reach a service."""
    match problem:
        case socket.gaierror():
            return Unreached("its name does not resolve", "check region, endpoint and DNS")
        case ssl.SSLCertVerificationError():
            why = getattr(problem, "verify_message", "") or "unknown reason"
            hint = "name the authority's PEM file with --ca-bundle (ROLESANYWHERE_CA_BUNDLE)"
            return Unreached(f"its TLS certificate is not trusted ({why})", hint)
        case ssl.SSLError():
            return Unreached("TLS failed", "check that the endpoint speaks HTTPS")
    # asyncio's own texts hold addresses, and of several failures nothing but their texts.
    found = re.search(r"\[Errno (\d+)\]", str(problem))
    number = problem.errno or (int(found[1]) if found else 0)
    return Unreached(os.strerror(number) if number else "it closed the connection in the middle")
