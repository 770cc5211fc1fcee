"""A firewall as companies have it: a proxy that all must ask, and that looks into their TLS.

It answers in everybody's place, with certificates of its own authority, and passes on what it has
read. Listens in the cluster's network, and writes down whom it was asked for.
"""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.harness.configuration import NETWORK
from tests.e2e.harness.sandbox import Sandbox
from tests.fakes.pki import Authority

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_CHUNK = 65536
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_WHO_ARE_YOU = (
    b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="corp"\r\n'
    b"Content-Length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Firewall:
    """``asked`` is each CONNECT's target, let through or not; ``login`` is ``user:password``."""

    address: str
    authority: Authority
    login: str
    asked: list[str] = field(default_factory=list)

    def lets_in(self, head: bytes) -> bool:
        """Whether who sent ``head`` has shown the login, where there is one."""
        shown = f"Proxy-Authorization: Basic {base64.b64encode(self.login.encode()).decode()}"
        return not self.login or shown.encode() in head


@asynccontextmanager
async def inspecting(
    sandbox: Sandbox, *, believing: Authority, login: str = ""
) -> AsyncIterator[Firewall]:
    """A firewall in the cluster's network, which itself believes servers of ``believing``."""
    listener = sandbox.open_socket()
    listener.bind((NETWORK.address, 0))
    address = f"{NETWORK.address}:{listener.getsockname()[1]}"
    made = Firewall(address, Authority.root("Inspecting firewall", at=datetime.now(UTC)), login)
    outside = ssl.create_default_context(cadata=believing.certificate_pem.decode())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await _pass_on(made, (reader, writer), sandbox, outside)
        finally:
            writer.close()

    async with await asyncio.start_server(serve, sock=listener):
        yield made


async def _pass_on(
    firewall: Firewall, caller: Stream, sandbox: Sandbox, outside: ssl.SSLContext
) -> None:
    reader, writer = caller
    head = await reader.readuntil(b"\r\n\r\n")
    target = head.split()[1].decode()
    firewall.asked.append(target)
    if not firewall.lets_in(head):
        writer.write(_WHO_ARE_YOU)
        await writer.drain()
        return
    host, _, port = target.rpartition(":")
    dialled = await asyncio.to_thread(sandbox.dial, (host, int(port)))
    theirs = await asyncio.open_connection(sock=dialled, ssl=outside, server_hostname=host)
    try:
        writer.write(_ESTABLISHED)
        await writer.start_tls(_in_the_name_of(host, firewall.authority))
        await asyncio.gather(_pump(reader, theirs[1]), _pump(theirs[0], writer))
    finally:
        theirs[1].close()


def _in_the_name_of(host: str, authority: Authority) -> ssl.SSLContext:
    server = authority.server(at=datetime.now(UTC), hosts=[host])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        pair = Path(folder) / "pair.pem"
        pair.write_bytes(server.certificate_pem + server.key_pem())
        context.load_cert_chain(pair)
    return context


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()
