"""What answers on a port, met by callers who write what they like: HTTP, TLS, and their ends."""

import asyncio
import gc
import logging
import socket
import ssl
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_operator.listeners import listening
from rolesanywhere_operator.ports import channels, connections, waits
from rolesanywhere_operator.ports.messages import Request, Response, Site
from rolesanywhere_operator.ports.reading import Reader, Whole
from tests.operator.certificates import a_pair

GET = b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
LARGEST = 1024


def post(path: str, body: bytes, *more: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*head, "", ""]).encode() + body


class Pages:
    """An echo, one that answers at once, one that waits until it is let go, and a broken one."""

    def __init__(self, *, large: int = 0) -> None:
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.asked = 0
        self.given_up = 0
        self.refused: list[HTTPStatus] = []
        self._large = large

    def site(self, *, largest_body: int = LARGEST, patience: float = 5.0) -> Site:
        return Site(
            pages={
                "/now": {"GET": self._now},
                "/slow": {"GET": self._slow},
                "/echo": {"POST": lambda request: Response(body=request.body)},
                "/broken": {"GET": self._broken, "POST": self._broken_later},
                "/large": {"GET": self._answer_large},
            },
            largest_body=largest_body,
            patience=lambda _: patience,
            refused=self.refused.append,
        )

    def _now(self, request: Request) -> Response:
        self.asked += 1
        return Response(body=f"{self.asked} {request.query}".encode())

    def _answer_large(self, _: Request) -> Response:
        self.asked += 1
        return Response(body=b"x" * self._large)

    async def _slow(self, _: Request) -> Response:
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return Response(body=b"at last")

    def _broken(self, _: Request) -> Response:
        raise RuntimeError("the secret inner workings")

    async def _broken_later(self, _: Request) -> Response:
        await asyncio.sleep(0)
        raise RuntimeError("the secret inner workings")


class Caller:
    """A caller who writes bytes and reads answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, *, bodiless: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            length = 0 if bodiless else int(headers.get("Content-Length", "0"))
            return int(first.split()[1]), headers, await self.reader.readexactly(length)

    async def is_left(self) -> bool:
        """Whether nothing comes but the end."""
        async with asyncio.timeout(5):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


@asynccontextmanager
async def calling(
    site: Site, *, tls: ssl.SSLContext | None = None, trust: ssl.SSLContext | None = None
) -> AsyncIterator[Caller]:
    async with listening(site, name="test", address="127.0.0.1", port=0, tls=tls) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        try:
            yield Caller(reader, writer)
        finally:
            writer.close()


@pytest.fixture
def pages() -> Pages:
    return Pages()


async def test_requests_in_one_breath_are_answered_one_by_one_and_in_turn(pages: Pages) -> None:
    async with calling(pages.site()) as caller:
        caller.say(GET + SLOW + GET.replace(b"/now", b"/now?last"))
        assert (await caller.answer())[2] == b"1 "
        await asyncio.sleep(0.05)
        assert pages.asked == 1, "the third was answered before the second"
        pages.go.set()
        assert (await caller.answer())[2] == b"at last"
        assert (await caller.answer())[2] == b"2 last"


async def test_what_is_not_http_is_told_so_and_left(pages: Pages) -> None:
    async with calling(pages.site()) as caller:
        caller.say(b"\x16\x03\x01 what is this\r\n\r\n")
        status, headers, body = await caller.answer()
        assert (status, headers["Connection"]) == (400, "close")
        assert b"the request is not HTTP/1.1" in body
        assert await caller.is_left()


@pytest.mark.parametrize(
    "smuggled",
    [
        b"Content-Length: 3\r\nContent-Length: 4",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
        b"Content-Length: -3",
        b"Content-Length : 3",
        b"Transfer-Encoding: chunked, identity",
    ],
)
async def test_a_body_of_two_lengths_is_no_request(pages: Pages, smuggled: bytes) -> None:
    async with calling(pages.site()) as caller:
        caller.say(b"POST /echo HTTP/1.1\r\nHost: x\r\n" + smuggled + b"\r\n\r\nabcd")
        assert (await caller.answer())[0] == 400
        assert await caller.is_left()


async def test_a_head_without_an_end_is_given_up(pages: Pages) -> None:
    async with calling(pages.site()) as caller:
        caller.say(b"GET /now HTTP/1.1\r\n" + b"X-More: of it\r\n" * 10_000)
        assert (await caller.answer())[0] == 431


async def test_a_head_that_takes_its_time_is_not_waited_for(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
    async with calling(pages.site()) as caller:
        caller.say(b"GET /now HT")
        assert (await caller.answer())[0] == 408
        assert pages.refused == [HTTPStatus.REQUEST_TIMEOUT]


async def test_a_body_that_takes_its_time_is_not_waited_for(pages: Pages) -> None:
    async with calling(pages.site(patience=0.1)) as caller:
        caller.say(post("/echo", b"whole")[:-1])
        assert (await caller.answer())[0] == 408


async def test_a_body_in_time_leaves_no_clock_ticking(pages: Pages) -> None:
    async with calling(pages.site(patience=1.0)) as caller:
        caller.say(post("/echo", b"whole")[:-1])
        await asyncio.sleep(0.01)
        caller.say(b"e")
        assert (await caller.answer())[2] == b"whole"
        await asyncio.sleep(1.2)
        caller.say(GET)
        assert (await caller.answer())[0] == 200


async def test_what_is_announced_as_too_large_is_refused_before_it_comes(pages: Pages) -> None:
    async with calling(pages.site()) as caller:
        caller.say(post("/echo", b"x" * (LARGEST + 1))[: -LARGEST - 1])
        status, _, body = await caller.answer()
        assert (status, body) == (413, b"got a body of more than 1024 bytes\n")


async def test_who_still_sends_can_read_why_that_is_for_nothing(pages: Pages) -> None:
    """Closed at once, a connection takes along what its caller has not read."""
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"

    def send_on_and_read(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
            line.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(3):
                line.sendall(chunk * 64)
                time.sleep(0.1)
            return b"".join(iter(partial(line.recv, 4096), b""))

    async with listening(pages.site(), name="test", address="127.0.0.1", port=0) as port:
        answer = await asyncio.to_thread(send_on_and_read, port)
    # Nor is the rest of it answered as if it were requests.
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1") == 1


async def test_chunks_are_joined(pages: Pages) -> None:
    async with calling(pages.site()) as caller:
        caller.say(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        caller.say(b"2\r\nab\r\n3\r\ncde\r\n0\r\nTrailer: ignored\r\n\r\n")
        assert (await caller.answer())[2] == b"abcde"


async def test_a_caller_who_asks_whether_to_go_on_is_told_to(pages: Pages) -> None:
    async with calling(pages.site()) as caller:
        whole = post("/echo", b"body", "Expect: 100-continue")
        caller.say(whole[:-4])
        assert (await caller.answer())[0] == 100
        caller.say(b"body")
        assert (await caller.answer())[2] == b"body"


async def test_a_caller_who_asks_whether_to_send_too_much_is_told_not_to(pages: Pages) -> None:
    async with calling(pages.site()) as caller:
        caller.say(post("/echo", b"x" * (LARGEST + 1), "Expect: 100-continue")[: -LARGEST - 1])
        assert (await caller.answer())[0] == 413


async def test_a_go_ahead_waits_for_the_answers_before_it(pages: Pages) -> None:
    whole = post("/echo", b"body", "Expect: 100-continue")
    async with calling(pages.site()) as caller:
        caller.say(SLOW + whole[:-4])
        await asyncio.wait_for(pages.begun.wait(), 5)
        await asyncio.sleep(0.05)
        pages.go.set()
        assert (await caller.answer())[2] == b"at last"
        assert (await caller.answer())[0] == 100
        caller.say(b"bo")
        await asyncio.sleep(0.05)
        caller.say(b"dy" + whole[:-4])  # One ends and the next begins in the same breath.
        assert (await caller.answer())[2] == b"body"
        assert (await caller.answer())[0] == 100


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /now HTTP/1.0\r\n\r\n",
        b"GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        GET.replace(b"Host", b"Connection: close\r\nHost"),
    ],
)
async def test_a_caller_who_wants_one_answer_gets_one(pages: Pages, request_: bytes) -> None:
    async with calling(pages.site()) as caller:
        caller.say(request_)
        status, headers, _ = await caller.answer()
        assert (status, headers["Connection"]) == (200, "close")
        assert await caller.is_left()


async def test_a_head_is_answered_with_a_head(pages: Pages) -> None:
    async with calling(pages.site()) as caller:
        caller.say(GET.replace(b"GET", b"HEAD") + GET)
        status, headers, _ = await caller.answer(bodiless=True)
        assert (status, headers["Content-Length"]) == (200, "2")
        assert (await caller.answer())[2] == b"2 "


async def test_another_method_is_told_which_there_are(pages: Pages) -> None:
    async with calling(pages.site()) as caller:
        caller.say(GET.replace(b"GET", b"DELETE"))
        status, headers, body = await caller.answer()
        assert (status, headers["Allow"], body) == (405, "GET", b"got DELETE, expected GET\n")


async def test_nothing_is_answered_after_a_refusal(pages: Pages) -> None:
    """Whoever shares the connection would take it for the answer to something else."""
    async with calling(pages.site()) as caller:
        caller.say(SLOW)
        await asyncio.wait_for(pages.begun.wait(), 5)
        caller.say(b"\0 nonsense")
        assert (await caller.answer())[0] == 400
        pages.go.set()
        assert await caller.is_left()
        assert pages.given_up == 1


async def test_who_ends_their_side_has_left(pages: Pages) -> None:
    async with calling(pages.site()) as caller:
        caller.say(GET + SLOW)
        caller.writer.write_eof()
        assert (await caller.answer())[0] == 200
        assert await caller.is_left()
        assert pages.given_up == 1


async def test_who_asks_much_at_once_keeps_nobody_waiting(pages: Pages) -> None:
    async with listening(pages.site(), name="test", address="127.0.0.1", port=0) as port:
        loop = asyncio.get_running_loop()
        with (
            socket.create_connection(("127.0.0.1", port)) as greedy,
            socket.create_connection(("127.0.0.1", port)) as modest,
        ):
            await asyncio.sleep(0.05)
            greedy.sendall(GET * 2000)
            modest.sendall(GET)
            modest.setblocking(False)
            answer = await asyncio.wait_for(loop.sock_recv(modest, 4096), 5)
    assert int(answer.rpartition(b"\n")[2]) < 200


async def test_callers_who_come_all_at_once_are_all_taken_on(pages: Pages) -> None:
    """One that the kernel turns away comes again a second later, and a pod waits for it."""
    async with listening(pages.site(), name="test", address="127.0.0.1", port=0) as port:
        with ExitStack() as open_:
            for _ in range(300):  # And nobody accepts them meanwhile.
                open_.enter_context(socket.create_connection(("127.0.0.1", port), timeout=0.5))


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_mistake_of_ours_is_an_answer_and_a_line_of_log(
    pages: Pages, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with calling(pages.site()) as caller:
        for _ in range(2):
            caller.say(GET.replace(b"GET /now", f"{method} /broken".encode()))
            status, _, body = await caller.answer()
            assert status == 500
            assert b"inner workings" not in body
    said = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert len(said) == 2
    assert "inner workings" in caplog.text


async def test_who_does_not_read_is_answered_no_more_until_they_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All are read in one breath, and no socket's buffers hold more than a few of the answers.
    pages = Pages(large=4 * 2**20)
    async with calling(pages.site()) as caller:
        caller.say(GET.replace(b"/now", b"/large") * 16)
        async with asyncio.timeout(5):
            while not pages.asked:  # noqa: ASYNC110 - it is the server's to read
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert pages.asked < 8
        for _ in range(16):
            assert len((await caller.answer())[2]) == 4 * 2**20
        assert pages.asked == 16


def read_to_the_end(line: socket.socket) -> None:
    with suppress(ConnectionResetError):
        while line.recv(2**20):
            pass


async def test_who_never_reads_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(waits, "PARTING_SECONDS", 0.1)
    pages = Pages(large=8 * 2**20)
    async with listening(pages.site(), name="test", address="127.0.0.1", port=0) as port:
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(GET.replace(b"/now", b"/large") * 8)
            await asyncio.sleep(1)
            line.settimeout(5)
            await asyncio.to_thread(read_to_the_end, line)
    assert pages.asked < 8


async def test_bodies_that_do_not_come_make_room_for_those_that_do(pages: Pages) -> None:
    body = b"x" * 2**20
    site = replace(pages.site(largest_body=len(body)), room=len(body) * 5 // 2)
    async with listening(site, name="test", address="127.0.0.1", port=0) as port:
        idlers = []
        for _ in range(4):
            idler = Caller(*await asyncio.open_connection("127.0.0.1", port))
            idler.say(post("/echo", body)[:-1])
            await asyncio.sleep(0.05)
            idlers.append(idler)
        earnest = Caller(*await asyncio.open_connection("127.0.0.1", port))
        earnest.say(post("/echo", body)[:-9])
        await asyncio.sleep(0.05)
        assert [(await one.answer())[0] for one in idlers[:3]] == [503] * 3
        earnest.say(body[-9:])
        assert (await earnest.answer())[2] == body
        idlers[3].say(b"x")
        assert (await idlers[3].answer())[2] == body
        for caller in (*idlers, earnest):
            caller.writer.close()
    assert pages.refused == [HTTPStatus.SERVICE_UNAVAILABLE] * 3


async def test_a_refusal_keeps_nothing_of_what_was_refused(pages: Pages) -> None:
    body = b"x" * 2**20
    async with calling(pages.site(largest_body=len(body), patience=0.3)) as caller:
        tracemalloc.start()
        caller.say(post("/echo", body)[:-1])
        assert (await caller.answer())[0] == 408
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held < len(body) / 2


async def test_who_says_nothing_for_long_is_left_and_who_waits_is_not(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "IDLE_SECONDS", 0.2)
    async with calling(pages.site()) as waiting:
        waiting.say(SLOW)
        await asyncio.wait_for(pages.begun.wait(), 5)
        async with calling(pages.site()) as silent:
            assert await silent.is_left()
        await asyncio.sleep(0.3)
        pages.go.set()
        assert (await waiting.answer())[2] == b"at last"


async def test_the_end_of_a_port_waits_for_answers_and_for_nobody_who_is_idle(
    pages: Pages,
) -> None:
    async with asyncio.TaskGroup() as group:
        open_, ending = asyncio.Event(), asyncio.Event()
        ports: list[int] = []

        async def serve() -> None:
            listener = listening(
                pages.site(), name="test", address="127.0.0.1", port=0, drain_seconds=5
            )
            async with listener as port:
                ports.append(port)
                open_.set()
                await ending.wait()

        serving = group.create_task(serve())
        await open_.wait()
        idle, busy = [
            Caller(*await asyncio.open_connection("127.0.0.1", ports[0])) for _ in range(2)
        ]
        busy.say(SLOW)
        await asyncio.wait_for(pages.begun.wait(), 5)
        ending.set()
        assert await idle.is_left()
        assert not serving.done()
        pages.go.set()
        status, headers, _ = await busy.answer()
        assert (status, headers["Connection"]) == (200, "close")
        await asyncio.wait_for(serving, 5)
        for caller in (idle, busy):
            caller.writer.close()


async def test_the_end_of_a_port_comes_though_an_answer_does_not(pages: Pages) -> None:
    async with listening(
        pages.site(), name="test", address="127.0.0.1", port=0, drain_seconds=0.1
    ) as port:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", port))
        caller.say(SLOW)
        await asyncio.wait_for(pages.begun.wait(), 5)
    assert await caller.is_left()
    assert pages.given_up == 1
    caller.writer.close()


async def test_an_answer_that_nobody_waits_for_is_given_up(pages: Pages) -> None:
    async with calling(pages.site()) as caller:
        caller.say(SLOW)
        await asyncio.wait_for(pages.begun.wait(), 5)
        caller.writer.transport.abort()
        async with asyncio.timeout(5):
            while not pages.given_up:  # noqa: ASYNC110 - it is the server's to notice
                await asyncio.sleep(0.01)


# The grammar, without a socket


def read(parts: list[bytes]) -> tuple[list[tuple[str, bytes, bool]], HTTPStatus | None]:
    reader = Reader(largest_body=LARGEST, clock=lambda: 0.0)
    came: list[Whole] = [whole for part in parts for whole in reader.feed(part)]
    told = [(one.request.path, one.request.body, one.goes_on) for one in came]
    return told, reader.fault.status if reader.fault else None


@given(st.data())
def test_requests_are_the_same_however_they_are_torn(data: st.DataObject) -> None:
    stream = post("/a", b"x" * 40) + GET + post("/b", b"", "Connection: close")
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    edges = [0, *sorted(cuts), len(stream)]
    parts = [stream[a:b] for a, b in pairwise(edges)]
    assert read(parts) == (
        [("/a", b"x" * 40, True), ("/now", b"", True), ("/b", b"", False)], None,
    )  # fmt: skip


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_no_bytes_are_too_strange(parts: list[bytes]) -> None:
    read(parts)
    read([GET, *parts])


def test_a_second_request_does_not_hide_that_the_first_was_too_large() -> None:
    told, fault = read([post("/a", b"x" * (LARGEST + 1)) + GET])
    assert (told, fault) == ([], HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"", b"X: y\r\n" * 99),
        (b"X: ", b"x" * 999),
        (b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 999),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 99),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"x" * 999),
    ],
)
def test_what_is_around_a_body_has_bounds_too(begin: bytes, more: bytes) -> None:
    told, fault = read([b"POST / HTTP/1.1\r\n" + begin, *[more] * 200])
    assert (told, fault) == ([], HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


def test_a_body_in_many_chunks_is_a_body() -> None:
    reader = Reader(largest_body=2**20, clock=lambda: 0.0)
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    came = [whole for part in (head, *[chunk] * 1024, b"0\r\n\r\n") for whole in reader.feed(part)]
    assert [len(one.request.body) for one in came] == [2**20]


def test_many_requests_in_one_breath_are_no_large_head() -> None:
    told, fault = read([GET * 4000 + GET[:9], GET[9:]])
    assert (len(told), fault) == (4001, None)


def test_the_first_fault_is_the_one_that_is_told() -> None:
    _, fault = read([post("/a", b"x" * (LARGEST + 1)) + b"nonsense\r\n\r\n"])
    assert fault is HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_a_trailer_changes_no_header() -> None:
    reader = Reader(largest_body=LARGEST, clock=lambda: 0.0)
    [whole] = reader.feed(
        b"POST / HTTP/1.1\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\nx\r\n0\r\nContent-Type: c/d\r\n\r\n"
    )
    assert whole.request.headers["content-type"] == "a/b"


# TLS


@pytest.fixture
def ours(tmp_path: Path) -> ssl.SSLContext:
    pair = a_pair("port")
    (tmp_path / "tls.crt").write_bytes(pair.certificate)
    (tmp_path / "tls.key").write_bytes(pair.private_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    return context


@pytest.fixture
def theirs(ours: ssl.SSLContext, tmp_path: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=(tmp_path / "tls.crt").read_text())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_much_goes_both_ways_over_tls(
    pages: Pages, ours: ssl.SSLContext, theirs: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    theirs.minimum_version = theirs.maximum_version = version
    body = bytes(range(256)) * 16384
    site = pages.site(largest_body=len(body))
    async with calling(site, tls=ours, trust=theirs) as caller:
        caller.say(post("/echo", body) + SLOW)
        assert (await caller.answer())[2] == body
        pages.go.set()
        assert (await caller.answer())[2] == b"at last"


async def test_the_end_of_a_connection_is_said_in_tls_too(
    pages: Pages, ours: ssl.SSLContext, theirs: ssl.SSLContext
) -> None:
    """One that is not said could be anybody's, and a strict client takes it for an error."""

    def strictly(port: int) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            theirs.wrap_socket(
                plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False
            ) as line,
        ):
            line.sendall(GET.replace(b"Host", b"Connection: close\r\nHost"))
            return b"".join(iter(partial(line.recv, 4096), b""))

    async with listening(pages.site(), name="test", address="127.0.0.1", port=0, tls=ours) as port:
        assert (await asyncio.to_thread(strictly, port)).endswith(b"\r\n\r\n1 ")


async def test_a_caller_who_reads_slowly_gets_all_of_it_over_tls(
    ours: ssl.SSLContext, theirs: ssl.SSLContext
) -> None:
    pages = Pages(large=2**20)
    async with calling(pages.site(), tls=ours, trust=theirs) as caller:
        caller.say(GET.replace(b"/now", b"/large") * 20)
        await asyncio.sleep(0.3)
        assert pages.asked < 20
        for _ in range(20):
            assert len((await caller.answer())[2]) == 2**20


async def test_a_handshake_that_does_not_come_is_not_waited_for(
    pages: Pages, ours: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "HANDSHAKE_SECONDS", 0.1)
    async with calling(pages.site(), tls=ours) as caller:
        assert await caller.is_left()


async def test_who_speaks_no_tls_is_left(pages: Pages, ours: ssl.SSLContext) -> None:
    async with calling(pages.site(), tls=ours) as caller:
        caller.say(GET)
        assert b"HTTP" not in await asyncio.wait_for(caller.reader.read(), 5)
    assert pages.asked == 0


@pytest.mark.parametrize("over_tls", [False, True])
async def test_nothing_of_a_caller_who_left_waits_for_the_garbage_collector(
    pages: Pages, ours: ssl.SSLContext, theirs: ssl.SSLContext, over_tls: bool
) -> None:
    """It comes by so rarely that what a hundred callers had sent was kept until then."""
    tls, trust = (ours, theirs) if over_tls else (None, None)
    gc.collect()
    gc.disable()
    try:
        async with listening(pages.site(), name="x", address="127.0.0.1", port=0, tls=tls) as port:
            caller = Caller(*await asyncio.open_connection("127.0.0.1", port, ssl=trust))
            caller.say(post("/echo", b"x"))
            await caller.answer()
            assert len(_callers_parts()) == 3
            caller.writer.close()
            async with asyncio.timeout(5):
                while _callers_parts():  # noqa: ASYNC110 - nothing says when a thing is gone
                    await asyncio.sleep(0.01)
    finally:
        gc.enable()


def _callers_parts() -> list[object]:
    kinds = (connections.Connection, Reader, channels.PlainChannel, channels.TlsChannel)
    return [one for one in gc.get_objects() if isinstance(one, kinds)]


async def test_a_connection_over_tls_costs_little(
    pages: Pages, ours: ssl.SSLContext, theirs: ssl.SSLContext
) -> None:
    """asyncio's own TLS holds 256 KiB for each."""
    count = 20
    async with listening(pages.site(), name="test", address="127.0.0.1", port=0, tls=ours) as port:
        callers = [await _tracked(port, theirs) for _ in range(2)]
        tracemalloc.start()
        before = _held_here()
        callers += [await _tracked(port, theirs) for _ in range(count)]
        each = (_held_here() - before) / count
        tracemalloc.stop()
        for caller in callers:
            caller.writer.close()
    assert each < 64 * 1024


async def _tracked(port: int, trust: ssl.SSLContext) -> Caller:
    caller = Caller(*await asyncio.open_connection("127.0.0.1", port, ssl=trust))
    caller.say(GET)
    await caller.answer()
    return caller


def _held_here() -> int:
    """Bytes that our side holds; the callers' are asyncio's."""
    ours = [tracemalloc.Filter(True, "*/rolesanywhere_operator/*")]
    return sum(
        one.size for one in tracemalloc.take_snapshot().filter_traces(ours).statistics("filename")
    )
