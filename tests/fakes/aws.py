"""IAM Roles Anywhere, STS and S3 on loopback: ``async with FakeAWS.start(world) as aws:``.

``python -m tests.fakes.aws --help`` runs them by hand, with an identity to try them with.
They listen on loopback alone unless told where, and keep everything in memory.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes

from aiohttp import web

from tests.fakes.faults import Faults
from tests.fakes.pki import Authority
from tests.fakes.recorded import Recorded
from tests.fakes.servers import (
    Account,
    Clock,
    Handler,
    rolesanywhere_handler,
    s3_handler,
    sts_handler,
)
from tests.fakes.sessions import Entropy, Issued
from tests.fakes.world import World

# Certificates travel in headers: a leaf with its chain is larger than aiohttp's 8 KiB.
MAX_HEADER_BYTES = 64 * 1024


def utc_now() -> datetime:
    return datetime.now(UTC)


def on_loopback() -> socket.socket:
    """A free port of this machine alone."""
    return socket.create_server(("127.0.0.1", 0))


@dataclass(frozen=True, slots=True)
class FakeAWS:
    """Where the services are, what they were asked, and the switches to make them fail."""

    rolesanywhere_url: str
    sts_url: str
    s3_url: str
    ca_file: Path | None
    account: Account

    @property
    def requests(self) -> list[Recorded]:
        """Everything asked so far, of all services, oldest first."""
        return self.account.requests

    @property
    def sessions(self) -> list[Issued]:
        """Every session granted so far, oldest first."""
        return self.account.sessions

    @property
    def faults(self) -> Faults:
        return self.account.faults

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        world: World,
        *,
        tls_folder: Path | None = None,
        authority: Authority | None = None,
        listen: Callable[[], socket.socket] = on_loopback,
        names: Collection[str] = (),
        clock: Clock = utc_now,
        entropy: Entropy = token_bytes,
    ) -> "AsyncIterator[FakeAWS]":
        """The services until the block ends, each at an address of its own from ``listen``.

        Plain HTTP, unless ``tls_folder`` is given: then HTTPS by a certificate of ``authority``,
        or of a new one, which is written there and named by ``ca_file``. The certificate is for
        ``names`` too. ``account.world`` may be replaced.
        """
        account = Account(world, clock, entropy)
        listeners = [listen() for _ in range(3)]
        hosts = {
            "127.0.0.1",
            "localhost",
            *names,
            *(str(one.getsockname()[0]) for one in listeners),
        }
        ca_file, context = _tls(tls_folder, authority, hosts) if tls_folder else (None, None)
        async with AsyncExitStack() as stack:
            rolesanywhere_url, sts_url, s3_url = [
                await stack.enter_async_context(_served(handler(account), listener, context))
                for handler, listener in zip(
                    (rolesanywhere_handler, sts_handler, s3_handler), listeners, strict=True
                )
            ]
            yield cls(rolesanywhere_url, sts_url, s3_url, ca_file, account)


@asynccontextmanager
async def _served(
    handler: Handler, listener: socket.socket, context: ssl.SSLContext | None
) -> AsyncIterator[str]:
    server = web.Server(
        handler,
        access_log=None,
        auto_decompress=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )
    runner = web.ServerRunner(server, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, ssl_context=context).start()
        host, port = listener.getsockname()[:2]
        yield f"{'https' if context else 'http'}://{host}:{port}"
    finally:
        await runner.cleanup()


def _tls(
    folder: Path, authority: Authority | None, hosts: Collection[str]
) -> tuple[Path, ssl.SSLContext]:
    """A server context, and the file that clients trust it by; valid at the real time."""
    now = utc_now()
    authority = authority or Authority.root("Fake AWS TLS", at=now)
    server = authority.server(at=now, hosts=sorted(hosts))
    ca_file, pair = folder / "fake-aws-ca.pem", folder / "fake-aws-server.pem"
    ca_file.write_bytes(authority.certificate_pem)
    pair.touch(mode=0o600)
    pair.write_bytes(server.certificate_pem + server.key_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return ca_file, context


if __name__ == "__main__":
    from tests.fakes.by_hand import main

    main()
