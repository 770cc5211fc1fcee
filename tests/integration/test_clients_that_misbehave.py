"""The real ``serve`` and clients as they come: many, slow, rude, or cut off by a SIGTERM."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.support.sidecars import RunningSidecar, a_sidecar, eventually

TTL = "X-aws-ec2-metadata-token-ttl-seconds"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[RunningSidecar, str]]:
    """A ready sidecar, and the token of its container endpoint."""
    root = Authority.root(at=utc_now())
    leaf = root.leaf(at=utc_now())
    (tmp_path / "identity.pem").write_bytes(leaf.certificate_pem + leaf.key_pem())
    async with FakeAWS.start(small_world(root.certificate)) as aws:
        env = {
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
            "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
            "ROLESANYWHERE_ENDPOINT": aws.rolesanywhere_url,
            "ROLESANYWHERE_CERTIFICATE": str(tmp_path / "identity.pem"),
            "ROLESANYWHERE_TOKEN_FILE": str(tmp_path / "token"),
        }
        async with a_sidecar(tmp_path, env) as sidecar:
            await sidecar.until_ready()
            token = (tmp_path / "token").read_text()
            yield sidecar, token
        assert token not in sidecar.log
        assert "Traceback" not in sidecar.log


def asking(sidecar: RunningSidecar, token: str, *more: str) -> bytes:
    """A good request for credentials, with ``more`` headers."""
    lines = [
        "GET /v1/credentials HTTP/1.1",
        f"Host: 127.0.0.1:{sidecar.port}",
        f"Authorization: {token}",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@asynccontextmanager
async def connected(
    port: int,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def said_to(port: int, sent: bytes, *, half_close: bool = False) -> bytes:
    """Everything that comes back until the sidecar hangs up."""
    async with connected(port) as (reader, writer):
        writer.write(sent)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(20):
            return await reader.read()


async def one_answer(reader: asyncio.StreamReader) -> bytes:
    """One response with a Content-Length, whole. Raises `IncompleteReadError` when it is cut."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)


def resident_kilobytes(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


async def test_two_hundred_clients_at_once_are_all_answered(
    served: tuple[RunningSidecar, str],
) -> None:
    sidecar, token = served
    request = asking(sidecar, token, "Connection: close")
    answers = await asyncio.gather(*(said_to(sidecar.port, request) for _ in range(200)))
    assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}
    assert all(b'"SecretAccessKey"' in answer for answer in answers)


async def test_slow_loris_neither_lasts_nor_keeps_others_out(
    served: tuple[RunningSidecar, str],
) -> None:
    sidecar, token = served
    begun = time.monotonic()
    slow = [await asyncio.open_connection("127.0.0.1", sidecar.port) for _ in range(600)]

    async def dribble() -> None:
        while True:
            for _, writer in slow:
                with contextlib.suppress(OSError):
                    writer.write(b"G")
            await asyncio.sleep(0.5)

    dribbling = asyncio.create_task(dribble())
    await asyncio.sleep(1.2)
    request = asking(sidecar, token, "Connection: close")
    for _ in range(5):
        assert (await said_to(sidecar.port, request)).startswith(b"HTTP/1.1 200")
    async with asyncio.timeout(20):
        for reader, _ in slow:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
    assert time.monotonic() - begun < 15
    dribbling.cancel()
    for _, writer in slow:
        writer.close()


@pytest.mark.parametrize(
    "rude",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
    ],
    ids=["header", "target", "number"],
)
async def test_oversized_heads_are_refused_with_an_answer(
    served: tuple[RunningSidecar, str], rude: bytes
) -> None:
    sidecar, _ = served
    answer = await said_to(sidecar.port, rude)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\n")


async def test_a_body_is_refused_unread_and_ends_the_connection(
    served: tuple[RunningSidecar, str],
) -> None:
    sidecar, token = served
    before = resident_kilobytes(sidecar.process.pid)
    body = b"x" * 30_000_000
    request = asking(sidecar, token, f"Content-Length: {len(body)}")
    answer = await said_to(sidecar.port, request + body)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert answer.endswith(b"\r\n\r\n")
    assert resident_kilobytes(sidecar.process.pid) - before < 5_000


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:80", "169.254.169.254"])
async def test_a_wrong_host_gets_nothing_and_may_try_again_rightly(
    served: tuple[RunningSidecar, str], host: str
) -> None:
    sidecar, token = served
    good = asking(sidecar, token, "Connection: close")
    bad = asking(sidecar, token).replace(f"127.0.0.1:{sidecar.port}".encode(), host.encode(), 1)
    answer = await said_to(sidecar.port, bad + good)
    refused, _, served_well = answer.partition(b"\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 401 ")
    assert served_well.startswith(b"HTTP/1.1 200 ")


async def test_pipelined_requests_are_answered_in_their_order(
    served: tuple[RunningSidecar, str],
) -> None:
    sidecar, token = served
    sent = (asking(sidecar, token) + asking(sidecar, "wrong")) * 40
    answer = await said_to(sidecar.port, sent + asking(sidecar, token, "Connection: close"))
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses[:80:2] == [b"200"] * 40
    assert len(set(statuses[1:80:2])) == 1
    assert statuses[1] in (b"401", b"403")
    assert statuses[80:] == [b"200"]


async def test_a_pipeliner_that_never_reads_costs_no_memory(
    served: tuple[RunningSidecar, str],
) -> None:
    sidecar, token = served
    before = resident_kilobytes(sidecar.process.pid)
    async with connected(sidecar.port) as (_, writer):
        cast("asyncio.ReadTransport", writer.transport).pause_reading()
        for _ in range(200):
            writer.write(asking(sidecar, token) * 100)
        await asyncio.sleep(1.5)
        assert resident_kilobytes(sidecar.process.pid) - before < 5_000
        writer.transport.abort()


async def test_a_half_closed_socket_gets_its_answers(served: tuple[RunningSidecar, str]) -> None:
    sidecar, token = served
    answer = await said_to(sidecar.port, asking(sidecar, token) * 3, half_close=True)
    assert answer.count(b"HTTP/1.1 200 OK") == 3


async def test_ten_thousand_imds_tokens_cost_no_memory(served: tuple[RunningSidecar, str]) -> None:
    sidecar, _ = served
    host = f"Host: 127.0.0.1:{sidecar.port}"
    request = f"PUT /latest/api/token HTTP/1.1\r\n{host}\r\n{TTL}: 21600\r\n\r\n".encode()

    async def fetch(count: int) -> set[bytes]:
        tokens = set()
        for _ in range(count // 500):
            async with connected(sidecar.port) as (reader, writer):
                for _ in range(500):
                    writer.write(request)
                    tokens.add((await one_answer(reader)).rpartition(b"\r\n\r\n")[2])
        return tokens

    await fetch(1000)
    before = resident_kilobytes(sidecar.process.pid)
    tokens = await fetch(10_000)
    assert resident_kilobytes(sidecar.process.pid) - before < 2_000
    assert len(tokens) == 10_000
    first = min(tokens).decode()
    listing = (
        f"GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\n{host}\r\n"
        f"X-aws-ec2-metadata-token: {first}\r\nConnection: close\r\n\r\n"
    )
    assert (await said_to(sidecar.port, listing.encode())).endswith(b"\r\n\r\nreports")


# The end


@dataclass
class Tally:
    """What became of requests under way when the sidecar was told to end."""

    answered: int = 0
    refused: int = 0
    dropped: list[str] = field(default_factory=list)


async def hammer(sidecar: RunningSidecar, request: bytes, tally: Tally, *, keep: bool) -> None:
    """Ask until nobody listens any more, and count what became of it."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port)
        except ConnectionRefusedError:
            tally.refused += 1
            return
        except OSError as wrong:
            tally.dropped.append(repr(wrong))
            return
        try:
            while True:
                writer.write(request)
                answer = await one_answer(reader)
                tally.answered += 1
                if not keep or b"\r\nConnection: close\r\n" in answer:
                    break
        except (OSError, asyncio.IncompleteReadError) as wrong:
            tally.dropped.append(repr(wrong))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.mark.parametrize("keep", [True, False], ids=["kept connections", "new connections"])
async def test_sigterm_under_load_drops_no_request(
    served: tuple[RunningSidecar, str], keep: bool
) -> None:
    sidecar, token = served
    more = () if keep else ("Connection: close",)
    request = asking(sidecar, token, *more)
    tally = Tally()
    clients = [asyncio.create_task(hammer(sidecar, request, tally, keep=keep)) for _ in range(32)]

    async def loaded() -> bool:
        return tally.answered > 100

    await eventually(loaded)
    assert await sidecar.terminated() == 0
    async with asyncio.timeout(10):
        await asyncio.gather(*clients)
    assert tally.dropped == []
    assert tally.refused == 32


async def test_clients_that_the_kernel_had_taken_on_are_answered_at_the_end(
    served: tuple[RunningSidecar, str],
) -> None:
    """Connected and asked while the sidecar was stopped, so that it had not seen any of them."""
    sidecar, token = served
    request = asking(sidecar, token)
    os.kill(sidecar.process.pid, signal.SIGSTOP)
    waiting = [socket.create_connection(("127.0.0.1", sidecar.port)) for _ in range(50)]
    for one in waiting:
        one.sendall(request)
    sidecar.process.send_signal(signal.SIGTERM)
    os.kill(sidecar.process.pid, signal.SIGCONT)
    for one in waiting:
        one.settimeout(10)
        with one, one.makefile("rb") as stream:
            answer = await asyncio.to_thread(stream.read)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b'"SecretAccessKey"' in answer
    assert await sidecar.ended() == 0
