"""The way to the service: connections kept and renewed, tunnels, names, and nothing left open."""

import asyncio
import base64
import contextlib
import gc
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.failures import EndpointUnreachable, InvalidReply
from rolesanywhere_sidecar.service.transport import Transport
from rolesanywhere_sidecar.signing import SignedRequest
from tests.fakes.aws import utc_now
from tests.fakes.pki import Authority
from tests.support.sidecars import eventually

REQUEST = SignedRequest(target="/sessions", headers={"host": "aws.invalid"}, body=b"{}")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Service:
    """A server on loopback; ``connections`` counts those that were made."""

    def __init__(self, speak: Speak) -> None:
        self._speak = speak
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0
        self.open: set[asyncio.StreamWriter] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            await self._speak(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()


@asynccontextmanager
async def a_service(
    speak: Speak, *, context: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Service]:
    service = Service(speak)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(service(reader, writer)))

    server = await asyncio.start_server(accept, host, port, ssl=context)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def url_of(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


def answering(*answers: bytes) -> Speak:
    """One of ``answers`` for each request of a connection, then the end."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            writer.write(answer)
            await writer.drain()

    return speak


async def forever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """200 for every request, on a connection that stays open."""
    await answering(*[OK] * 100)(reader, writer)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


@asynccontextmanager
async def a_sender(
    url: str, *, env: Mapping[str, str] | None = None, **more: Any
) -> AsyncIterator[Transport]:
    sender = Transport(url, ca_bundle=more.pop("ca_bundle", None), env=env or {}, **more)
    try:
        yield sender
    finally:
        await sender.close()


def open_sockets() -> int:
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them has gone
            count += str(descriptor.readlink()).startswith("socket:")
    return count


async def failure(sender: Transport) -> str:
    with pytest.raises(RolesAnywhereError) as caught:
        await sender.post(REQUEST)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


# Connections that are kept


async def test_one_connection_carries_every_request() -> None:
    async with (
        a_service(forever) as service,
        a_sender(url_of(service)) as sender,
    ):
        for _ in range(5):
            assert (await sender.post(REQUEST)).body == b"ok"
        assert service.connections == 1


async def test_two_at_once_have_a_connection_each_and_one_is_kept() -> None:
    async with (
        a_service(forever) as service,
        a_sender(url_of(service)) as sender,
    ):
        await asyncio.gather(sender.post(REQUEST), sender.post(REQUEST))
        await sender.post(REQUEST)
        assert service.connections == 2


async def test_a_kept_connection_is_closed_after_a_while() -> None:
    async with (
        a_service(forever) as service,
        a_sender(url_of(service), kept_seconds=0.05) as sender,
    ):
        await sender.post(REQUEST)
        assert len(service.open) == 1

        async def closed() -> bool:
            return not service.open

        await eventually(closed)


@pytest.mark.parametrize(
    "answer",
    [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK.replace(b"1.1", b"1.0")],
    ids=["close", "HTTP/1.0"],
)
async def test_who_closes_after_the_answer_is_dialled_anew(answer: bytes) -> None:
    async with (
        a_service(answering(answer)) as service,
        a_sender(url_of(service)) as sender,
    ):
        for _ in range(3):
            assert (await sender.post(REQUEST)).body == b"ok"
        assert service.connections == 3


async def test_a_kept_connection_that_died_is_replaced_once() -> None:
    async with (
        a_service(answering(OK)) as service,  # closes without having said that it would
        a_sender(url_of(service)) as sender,
    ):
        for _ in range(3):
            assert (await sender.post(REQUEST)).body == b"ok"
            await asyncio.sleep(0.02)
        assert service.connections == 3


async def test_also_when_it_dies_of_the_request() -> None:
    async def reads_and_hangs_up(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await answering(OK)(reader, writer)
        await reader.readuntil(b"\r\n\r\n")

    async with (
        a_service(reads_and_hangs_up) as service,
        a_sender(url_of(service)) as sender,
    ):
        await sender.post(REQUEST)
        assert (await sender.post(REQUEST)).body == b"ok"
        assert service.connections == 2


@pytest.mark.parametrize("later", [False, True], ids=["with the reply", "later"])
async def test_what_is_said_unasked_is_not_taken_for_the_next_reply(later: bool) -> None:
    heard, spoken = asyncio.Event(), asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        unasked = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
        writer.write(OK if later else OK + unasked)
        if later:
            await heard.wait()
            writer.write(unasked)
        spoken.set()
        await reader.read()

    async with a_service(speak) as service, a_sender(url_of(service)) as sender:
        for _ in range(2):
            reply = await sender.post(REQUEST)
            assert (reply.status, reply.body) == (200, b"ok")
            heard.set()
            await spoken.wait()
            # The kernel has handed it over by then; now the loop reads it.
            await asyncio.sleep(0.01)
        assert service.connections == 2


async def test_a_fresh_connection_that_dies_is_not_retried() -> None:
    async with (
        a_service(answering(b"")) as service,
        a_sender(url_of(service)) as sender,
    ):
        assert "it closed the connection in the middle" in await failure(sender)
        assert service.connections == 1


async def test_nor_a_kept_one_of_which_a_byte_was_heard() -> None:
    async with (
        a_service(answering(OK, b"H")) as service,
        a_sender(url_of(service)) as sender,
    ):
        await sender.post(REQUEST)
        assert "it closed the connection in the middle" in await failure(sender)
        assert service.connections == 1


async def test_nor_one_that_is_silent() -> None:
    async def silent_at_last(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(OK)(reader, writer)
        await reader.read()

    async with (
        a_service(silent_at_last) as service,
        a_sender(url_of(service), total_seconds=2) as sender,
    ):
        await sender.post(REQUEST)
        assert "no answer within 2 seconds" in await failure(sender)
        assert service.connections == 1


# Replies


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
            b"ok",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
async def test_every_form_of_a_reply_is_read(answer: bytes, body: bytes) -> None:
    async with (
        a_service(answering(answer)) as service,
        a_sender(url_of(service)) as sender,
    ):
        assert (await sender.post(REQUEST)).body == body


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            "it closed the connection in the mid",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "not answer as an HTTP ser",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "not answer as an"),
        (b"+OK POP3 ready\r\n\r\n", "it does not answer as an HTTP server"),
        (b"\x15\x03\x01\x00\x02\x02\x50", "it does not answer as an HTTP server"),
    ],
)
async def test_what_is_no_reply_is_said_to_be_none(answer: bytes, says: str) -> None:
    async with (
        a_service(answering(answer)) as service,
        a_sender(url_of(service)) as sender,
    ):
        assert says in await failure(sender)


async def test_interim_answers_without_end_are_cut_off() -> None:
    async def interim(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)
            await writer.drain()

    async with (
        a_service(interim) as service,
        a_sender(url_of(service)) as sender,
    ):
        with pytest.raises(InvalidReply, match="more than 262144 bytes"):
            await sender.post(REQUEST)


# Names and addresses


async def test_a_name_that_hangs_is_given_up_with_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hangs(*_: object, **__: object) -> None:
        await asyncio.sleep(60)
        pytest.fail("the name was waited for")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hangs)
    async with a_sender("http://aws.invalid", connect_seconds=0.2) as sender:
        assert "aws.invalid:80 cannot be reached: no connection within 0.2" in await failure(sender)


async def test_an_address_that_is_a_black_hole_does_not_hide_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    with full_backlog() as hole:
        async with a_service(forever) as service:
            addresses = [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
                for port in (hole, service.port)
            ]

            async def both(*_: object, **__: object) -> list[Any]:
                return addresses

            monkeypatch.setattr(loop, "getaddrinfo", both)
            begun = time.monotonic()
            # The black hole alone would take all of the time for a connection.
            async with a_sender("http://aws.invalid", connect_seconds=14) as sender:
                assert (await sender.post(REQUEST)).body == b"ok"
            assert time.monotonic() - begun < 10


@contextlib.contextmanager
def full_backlog() -> Any:
    """The port of a listener that answers nobody's SYN any more."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server.getsockname()[1]


async def test_several_addresses_that_refuse_are_one_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as one, socket.socket() as two:
        for taken in (one, two):
            taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", taken.getsockname()) for taken in (one, two)
        ]

        async def both(*_: object, **__: object) -> list[Any]:
            return addresses

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
        async with a_sender("http://aws.invalid") as sender:
            said = await failure(sender)
    assert said.startswith("aws.invalid:80 cannot be reached: Connection refused;")


# Proxies


def a_server(folder: Path, *hosts: str) -> tuple[str, ssl.SSLContext]:
    authority = Authority.root("TLS", at=utc_now())
    server = authority.server(at=utc_now(), hosts=hosts)
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    (folder / "server.pem").write_bytes(server.certificate_pem + server.key_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return str(folder / "ca.pem"), context


def tunnelling(to: int, heads: list[bytes]) -> Speak:
    """A proxy that leads everybody to the port ``to``."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", to)
        try:
            await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))
        finally:
            inner_writer.close()

    return speak


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_tunnel_through_a_proxy_of_either_kind_keeps_its_connection(
    tmp_path: Path, scheme: str
) -> None:
    bundle, context = a_server(tmp_path, "aws.invalid", "127.0.0.1")
    heads: list[bytes] = []
    async with (
        a_service(forever, context=context) as service,
        a_service(
            tunnelling(service.port, heads), context=context if scheme == "https" else None
        ) as proxy,
        a_sender(
            "https://aws.invalid",
            ca_bundle=bundle,
            env={"https_proxy": f"{scheme}://us%40er:p%2Fw%C3%A9@127.0.0.1:{proxy.port}"},
        ) as sender,
    ):
        for _ in range(3):
            assert (await sender.post(REQUEST)).body == b"ok"
        assert (proxy.connections, service.connections) == (1, 1)
    [head] = heads
    login = base64.b64encode("us@er:p/wé".encode())
    assert head.startswith(b"CONNECT aws.invalid:443 HTTP/1.1\r\nHost: aws.invalid:443\r\n")
    assert b"Proxy-Authorization: Basic " + login + b"\r\n" in head


async def test_a_proxy_without_a_login_is_shown_none(tmp_path: Path) -> None:
    bundle, context = a_server(tmp_path, "aws.invalid")
    heads: list[bytes] = []
    async with (
        a_service(forever, context=context) as service,
        a_service(tunnelling(service.port, heads)) as proxy,
        a_sender(
            "https://aws.invalid",
            ca_bundle=bundle,
            env={"https_proxy": f"http://127.0.0.1:{proxy.port}"},
        ) as sender,
    ):
        await sender.post(REQUEST)
    assert b"authorization" not in heads[0].lower()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "the proxy answered 403"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", "the proxy answered 301"),
        (b"SSH-2.0\r\n\r\n", "the proxy does not answer as an HTTP proxy"),
        (b"", "the proxy does not answer as an HTTP proxy"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, "the proxy does not answer as an HTTP proxy"),
    ],
)
async def test_a_proxy_that_does_not_let_us_through_is_told_apart(answer: bytes, says: str) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with a_service(speak) as proxy:
        env = {"https_proxy": f"http://127.0.0.1:{proxy.port}"}
        async with a_sender("https://aws.invalid", env=env) as sender:
            assert f"through the proxy 127.0.0.1:{proxy.port}: {says}" in await failure(sender)


# Nothing is left


# asyncio drops a socket that connects in the very moment of a cancellation (its race of addresses
# knows no winner yet); collecting it closes it.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("after", [0.0, 0.001, 0.01, 0.1])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_a_cancelled_request_leaves_no_socket(
    tmp_path: Path, after: float, secure: bool
) -> None:
    bundle, context = a_server(tmp_path, "127.0.0.1") if secure else (None, None)
    async with a_service(silence, context=context) as service:
        before = open_sockets()
        url = f"{'https' if secure else 'http'}://127.0.0.1:{service.port}"
        async with a_sender(url, ca_bundle=bundle) as sender:
            asking = asyncio.create_task(sender.post(REQUEST))
            await asyncio.sleep(after)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

        async def none_left() -> bool:
            gc.collect()  # the warning of an unclosed transport fails the test
            return open_sockets() <= before

        await eventually(none_left)


async def test_the_bundle_in_use_is_the_one_of_the_kept_connection(tmp_path: Path) -> None:
    bundle, context = a_server(tmp_path, "127.0.0.1")
    other = Authority.root("Other", at=utc_now()).certificate_pem
    async with (
        a_service(forever, context=context) as service,
        a_sender(f"https://127.0.0.1:{service.port}", ca_bundle=bundle) as sender,
    ):
        await sender.post(REQUEST)
        await asyncio.to_thread(Path(bundle).write_bytes, other)
        assert "its TLS certificate is not trusted" in await failure(sender)


async def test_plain_http_on_loopback_loads_no_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", None)
    async with (
        a_service(forever) as service,
        a_sender(url_of(service)) as sender,
    ):
        assert (await sender.post(REQUEST)).status == 200


async def test_the_systems_authorities_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    original = ssl.create_default_context

    def counted(*given: Any, **named: Any) -> ssl.SSLContext:
        loaded.append(named)
        return original(*given, **named)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    async with (
        a_service(silence) as service,
        a_sender(f"https://127.0.0.1:{service.port}", total_seconds=0.5) as sender,
    ):
        attempts = (sender.post(REQUEST) for _ in range(3))
        results = await asyncio.gather(*attempts, return_exceptions=True)
    assert [type(result) for result in results] == [EndpointUnreachable] * 3
    assert len(loaded) == 1
