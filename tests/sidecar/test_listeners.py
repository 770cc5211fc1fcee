"""The edge, with real sockets and raw bytes: what is refused, bounded, and never told."""

import asyncio
import contextlib
import select
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rolesanywhere_sidecar.serving import listeners
from rolesanywhere_sidecar.serving.connections import Bounds, Connection
from rolesanywhere_sidecar.serving.exchange import Ask, Reply
from rolesanywhere_sidecar.serving.listeners import (
    Listener,
    PortUnavailable,
    every_address,
    loopback,
)

SECRET = "s3cret-body"
ASK = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def echo(ask: Ask) -> Reply:
    """Tells what arrived, except that one path is a bug."""
    if ask.target == "/bug":
        raise RuntimeError(SECRET)
    return Reply(200, f"{ask.method} {ask.target} {ask.headers.get('x-y', '')}", headers={"A": "b"})


@asynccontextmanager
async def a_listener(bounds: Bounds | None = None) -> AsyncIterator[int]:
    at = loopback(0)
    port: int = at.getsockname()[1]
    listener = await Listener.open(echo, at, bounds=bounds)
    try:
        yield port
    finally:
        await listener.close()


async def send(port: int, sent: bytes) -> str:
    """Everything that comes back until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(20):
            return (await reader.read()).decode()
    except ConnectionResetError:
        return ""
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def status_of(answer: str) -> int:
    return int(answer.split()[1])


def headers_of(answer: str) -> dict[str, str]:
    lines = answer.partition("\r\n\r\n")[0].splitlines()[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


async def test_a_request_reaches_the_answer_as_it_was_sent() -> None:
    async with a_listener() as port:
        answer = await send(
            port, b"GET //a%2Fb/?q=1 HTTP/1.1\r\nHost: h\r\nX-Y: z\r\nConnection: close\r\n\r\n"
        )
    assert answer.endswith("\r\n\r\nGET //a%2Fb/?q=1 z")
    assert headers_of(answer)["a"] == "b"


async def test_one_connection_carries_many_requests() -> None:
    async with a_listener() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(b"GET /again HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = await reader.readuntil(b"GET /again ")
            assert b"Connection: close" not in answer
        await hang_up(writer)


async def test_but_not_for_ever() -> None:
    async with a_listener(Bounds(requests=2)) as port:
        answer = await send(port, 3 * b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.count("HTTP/1.1 200") == 2
    assert answer.count("Connection: close") == 1


async def test_who_asks_for_the_last_time_is_told_that_it_was() -> None:
    async with a_listener() as port:
        answer = await send(port, 2 * ASK)
    assert answer.count("HTTP/1.1 200") == 1
    assert headers_of(answer)["connection"] == "close"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (ASK, 200),
        (b"GET /bug HTTP/1.1\r\nHost: h\r\n\r\n", 500),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n folded: x\r\n\r\n", 400),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 5000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: a\r\n" * 200 + b"\r\n", 400),
    ],
)  # fmt: skip
async def test_every_response_is_nameless_and_kept_by_no_cache(sent: bytes, status: int) -> None:
    async with a_listener() as port:
        answer = await send(port, sent)
    assert status_of(answer) == status
    headers = headers_of(answer)
    assert headers["server"] == "rolesanywhere"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control")]
    assert "aiohttp" not in answer
    assert "Python" not in answer


async def test_a_bug_shows_the_caller_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with a_listener() as port:
        answer = await send(port, b"GET /bug HTTP/1.1\r\nHost: h\r\n\r\n")
    assert SECRET not in answer
    assert answer.endswith("\r\n\r\n")
    assert [one.message for one in caplog.records] == ["request failed"]


async def test_what_a_malformed_request_held_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(0)
    async with a_listener() as port:
        await send(port, f"GET / HTTP/1.1\r\nAuthorization : {SECRET}\r\n\r\n".encode())
        await send(port, f"{SECRET}\r\n\r\n".encode())
    assert SECRET not in caplog.text


async def test_a_body_is_not_waited_for() -> None:
    async with a_listener() as port:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n"
        answer = await send(port, head)
    assert status_of(answer) == 200
    assert headers_of(answer)["connection"] == "close"


async def test_who_sends_no_request_is_hung_up_on() -> None:
    async with a_listener(Bounds(idle_seconds=0.05, request_seconds=0.05)) as port:
        assert await send(port, b"") == ""
        assert await send(port, b"GET / HTTP/1.1\r\nHost: h\r\n") == ""


async def test_connections_are_numbered() -> None:
    async with a_listener(Bounds(connections=3, grace_seconds=60)) as port:
        idlers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await send(port, ASK) == ""  # they came a moment ago, and may be about to ask
        for reader, writer in idlers:
            writer.write(ASK)
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            await hang_up(writer)


async def test_idle_connections_make_room_for_new_ones() -> None:
    async with a_listener(Bounds(connections=3, grace_seconds=0.05)) as port:
        idlers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert status_of(await send(port, ASK)) == 200
        assert await idlers[0][0].read() == b""  # the eldest made room
        idlers[2][1].write(ASK)
        assert (await idlers[2][0].read()).startswith(b"HTTP/1.1 200")
        for _, writer in idlers:
            await hang_up(writer)


async def test_closing_hangs_up_on_idlers_at_once_and_takes_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listeners, "DRAIN_SECONDS", 60)
    async with a_listener() as port:
        idle = await asyncio.open_connection("127.0.0.1", port)
        begun = time.monotonic()
    assert time.monotonic() - begun < listeners.DRAIN_SECONDS / 2
    assert await idle[0].read() == b""
    await hang_up(idle[1])
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


def test_credentials_are_on_loopback_alone() -> None:
    with loopback(0) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_probes_are_on_every_address_of_both_families(host: str) -> None:
    bound = every_address(0)
    if bound.family != socket.AF_INET6 and host == "::1":
        bound.close()
        return  # this machine has no IPv6 to listen on
    listener = await Listener.open(echo, bound)
    _, writer = await asyncio.open_connection(host, bound.getsockname()[1])
    await hang_up(writer)
    await listener.close()


@pytest.mark.parametrize("opened", [loopback, every_address])
def test_a_port_that_is_taken_is_one_sentence(opened: object) -> None:
    assert callable(opened)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailable, match=f"port {port}: Address already in use;"):
            opened(port)


async def test_what_the_loopback_port_sends_has_the_hop_limit_that_was_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    made = Connection.connection_made

    def look(self: Connection, transport: asyncio.BaseTransport) -> None:
        accepted = transport.get_extra_info("socket")
        seen.append(accepted.getsockopt(socket.IPPROTO_IP, socket.IP_TTL))
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        made(self, transport)

    monkeypatch.setattr(Connection, "connection_made", look)
    at = loopback(0, hop_limit=3)
    listener = await Listener.open(echo, at)
    assert status_of(await send(at.getsockname()[1], ASK)) == 200
    await listener.close()
    assert seen == [3]


async def test_who_had_connected_when_it_closed_is_answered() -> None:
    async with a_listener() as port:
        # Of all of these the listener has seen nothing yet: the loop has not turned since.
        clients = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(20)]
        for client in clients:
            client.sendall(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n")
    for client in clients:
        with client, client.makefile("rb") as stream:
            answer = await asyncio.to_thread(stream.read)
        assert status_of(answer.decode()) == 200
        assert headers_of(answer.decode())["connection"] == "close"


async def test_who_is_accepted_in_the_moment_that_it_closes_is_answered() -> None:
    at = loopback(0)
    listener = await Listener.open(echo, at)
    client = socket.create_connection(at.getsockname(), timeout=20)
    client.sendall(ASK)
    # One turn of the loop accepts the client and begins the close, which then goes first.
    closing: asyncio.Future[asyncio.Task[None]] = asyncio.Future()
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: closing.set_result(loop.create_task(listener.close())))
    with client, client.makefile("rb") as stream:
        answer = await asyncio.to_thread(stream.read)
    assert status_of(answer.decode()) == 200
    await (await closing)


def test_who_was_waiting_at_the_door_of_a_busy_machine_is_answered() -> None:
    """Accepted in the very turn of the loop that ends the time for it, because none came before."""
    client = socket.socket()

    async def close_at_once() -> bool:
        at = loopback(0)
        listener = await Listener.open(echo, at)
        client.settimeout(20)
        loop = asyncio.get_running_loop()
        # One turn in which the client comes and the close begins, which takes longer than that
        # waits: nobody is accepted before the next.
        loop.call_soon(client.connect, at.getsockname())
        loop.call_soon(client.sendall, ASK)
        closing = asyncio.create_task(listener.close())
        loop.call_soon(time.sleep, 2 * listeners._SETTLING_SECONDS)
        await closing
        return bool(select.select([client], [], [], 0)[0])

    with client, client.makefile("rb") as stream:
        assert asyncio.run(close_at_once()), "it closed before it had answered"
        assert status_of(stream.read().decode()) == 200


async def test_who_comes_while_it_closes_is_refused_and_never_reset() -> None:
    at = loopback(0)
    port = at.getsockname()[1]
    listener = await Listener.open(echo, at)
    closing = asyncio.create_task(listener.close())
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await closing


async def test_an_idle_client_may_ask_once_more_while_it_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listeners, "PARTING_SECONDS", 30)
    at = loopback(0)
    listener = await Listener.open(echo, at)
    reader, writer = await asyncio.open_connection("127.0.0.1", at.getsockname()[1])
    writer.write(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n")
    await reader.readuntil(b"GET /1 ")
    closing = asyncio.create_task(listener.close())
    await asyncio.sleep(0.05)
    writer.write(b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
    answer = await reader.read()
    assert answer.endswith(b"GET /2 ")
    assert b"Connection: close" in answer
    await hang_up(writer)
    await closing


async def test_a_request_that_never_ends_delays_the_end_by_seconds_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    longest = listeners.DRAIN_SECONDS
    assert longest == 3
    monkeypatch.setattr(listeners, "DRAIN_SECONDS", 0.6)
    at = loopback(0)
    listener = await Listener.open(echo, at)
    reader, writer = await asyncio.open_connection("127.0.0.1", at.getsockname()[1])
    writer.write(b"GET / HTTP/1.1\r\nHost:")
    await asyncio.sleep(0.02)
    begun = time.monotonic()
    await listener.close()
    assert time.monotonic() - begun < longest
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    await hang_up(writer)
