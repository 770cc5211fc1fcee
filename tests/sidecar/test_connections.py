"""One connection on a wire that is no socket: order, fairness, memory, and any bytes at all."""

import asyncio
import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from rolesanywhere_contract.arns import RoleArn
from rolesanywhere_sidecar.serving.bearer import BearerToken
from rolesanywhere_sidecar.serving.connections import READ_BYTES, Bounds, Shared
from rolesanywhere_sidecar.serving.endpoint import ContainerEndpoint
from rolesanywhere_sidecar.serving.exchange import Answer, Ask, Reply
from rolesanywhere_sidecar.serving.front import FrontDoor
from rolesanywhere_sidecar.serving.http1 import MAX_HEAD
from rolesanywhere_sidecar.serving.imds import Imds, SessionTokens
from tests.fakes.world import ROLE_ARN
from tests.sidecar.wires import Time, a_wire, another, answers
from tests.support.sessions import SECRET_ACCESS_KEY, SESSION_TOKEN, some_credentials

GET = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
BODY = b"x" * 1000


def echo(ask: Ask) -> Reply:
    return Reply(200, ask.target)


def long(_: Ask) -> Reply:
    return Reply(200, BODY.decode())


@pytest.fixture
async def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The loop's, in the test's hands."""
    loop = asyncio.get_running_loop()
    stopped = Time(loop.time())
    monkeypatch.setattr(loop, "time", lambda: stopped.now)
    return stopped


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_pipelined_requests_are_answered_in_order() -> None:
    wire, _, _ = a_wire(echo)
    wire.receive(b"".join(GET % n for n in range(20)))
    await turns()
    assert answers(bytes(wire.sent), to=[]) == [(200, b"/%d" % n) for n in range(20)]
    assert not wire.is_closed


async def test_each_turn_of_the_loop_answers_one_so_that_nobody_waits_for_a_pipeliner() -> None:
    greedy, _, shared = a_wire(echo)
    greedy.receive(b"".join(GET % n for n in range(100)))
    assert greedy.sent.count(b"HTTP/1.1 200") == 1
    assert greedy.is_paused
    modest, _ = another(shared)
    modest.receive(GET % 1)
    assert modest.sent.count(b"HTTP/1.1 200") == 1


async def test_who_reads_no_answers_gets_no_more_of_them_and_is_read_no_further() -> None:
    wire, connection, _ = a_wire(long, room=1500)
    wire.receive((GET % 1) * 200)
    await turns()
    assert wire.is_paused
    assert len(wire.held) <= 2 * len(BODY)
    assert connection._requests.waiting <= READ_BYTES + MAX_HEAD
    for _ in range(500):
        wire.taken(1000)
        await turns(2)
    assert answers(bytes(wire.sent), to=[]) == [(200, BODY)] * 200
    assert not wire.is_paused


async def test_who_takes_no_answer_at_all_is_dropped(time: Time) -> None:
    wire, _, shared = a_wire(long, Bounds(answer_seconds=2), room=10)
    wire.receive(GET % 1)
    await time.passes(1.9)
    assert not wire.is_closed
    await time.passes(0.2)
    assert wire.is_closed
    assert not shared.crowd


async def test_a_request_that_dribbles_is_dropped_in_time_however_often_a_byte_comes(
    time: Time,
) -> None:
    wire, _, _ = a_wire(echo, Bounds(request_seconds=5))
    for byte in b"GET / HTTP/1.1\r\n":
        wire.receive(bytes([byte]))
        await time.passes(0.3)
    assert not wire.is_closed
    wire.receive(b"A")
    await time.passes(0.3)
    assert wire.is_closed
    assert not wire.sent


async def test_empty_lines_hold_no_connection_open(time: Time) -> None:
    wire, _, _ = a_wire(echo, Bounds(request_seconds=10, idle_seconds=10))
    for _ in range(2):
        wire.receive(b"\r\n")
        await time.passes(6)
    assert answers(bytes(wire.sent), to=["GET"]) == [(400, b"")]
    wire, _, _ = a_wire(echo, Bounds(request_seconds=10, idle_seconds=10))
    for byte in (b"\r", b"\n", b"\r"):
        wire.receive(byte)
        await time.passes(6)
    assert wire.is_closed


async def test_time_begins_anew_with_each_request(time: Time) -> None:
    wire, _, _ = a_wire(echo, Bounds(request_seconds=10, idle_seconds=10))
    for _ in range(6):
        wire.receive(GET % 1)
        await time.passes(9)
    assert not wire.is_closed
    await time.passes(2)
    assert wire.is_closed


async def test_a_client_that_has_said_all_still_gets_every_answer() -> None:
    wire, _, _ = a_wire(echo)
    wire.receive(b"".join(GET % n for n in range(5)))
    wire.end()
    await turns()
    assert answers(bytes(wire.sent), to=[]) == [(200, b"/%d" % n) for n in range(5)]
    assert wire.is_closed


async def test_half_a_request_and_the_end_get_nothing() -> None:
    wire, _, _ = a_wire(echo)
    wire.receive(b"GET / HTTP/1.1\r\nHo")
    wire.end()
    assert wire.is_closed
    assert not wire.sent


async def test_after_the_last_answer_the_client_may_hang_up_first(time: Time) -> None:
    wire, _, _ = a_wire(echo, Bounds(linger_seconds=1))
    wire.receive(LAST + GET % 1)
    assert wire.has_said_all
    assert not wire.is_closed
    assert not wire.is_paused  # what is unread would reset the connection, and the answer
    wire.receive(b"x" * 100_000)
    assert answers(bytes(wire.sent), to=[]) == [(200, b"/last")]
    await time.passes(0.9)
    assert not wire.is_closed
    await time.passes(0.2)
    assert wire.is_closed


async def test_of_a_body_nothing_is_kept() -> None:
    wire, connection, _ = a_wire(echo)
    wire.receive(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n")
    wire.receive(b"x" * 10_000_000)
    assert connection._requests.waiting == 0
    assert answers(bytes(wire.sent), to=["PUT"]) == [(200, b"/")]
    assert wire.has_said_all


async def test_a_listener_that_closes_makes_every_answer_the_last() -> None:
    wire, connection, shared = a_wire(echo)
    wire.receive(GET % 1)
    shared.closing = True
    wire.receive(GET % 2)
    assert wire.sent.count(b"Connection: close") == 1
    assert wire.has_said_all
    idle, its_connection = another(shared)
    its_connection.hang_up()
    assert idle.is_closed
    connection.hang_up()
    assert not wire.is_closed  # its client has yet to take the answer


# Any bytes

WORDS = [
    b"GET ", b"HEAD ", b"PUT ", b"POST ", b"OPTIONS ", b"CONNECT ", b"/", b"/v1/credentials",
    b"/latest/api/token", b"/latest/meta-data/iam/security-credentials/", b"http://evil/", b"*",
    b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/2.0\r\n", b"Host: 127.0.0.1:9911\r\n",
    b"Host: evil\r\n", b"Authorization: wrong\r\n", b"Authorization:\r\n", b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"X-Forwarded-For: 1\r\n",
    b"X-aws-ec2-metadata-token-ttl-seconds: 60\r\n", b" folded\r\n", b"\r\n", b"\r\n\r\n", b"\n",
    b"\r", b"\x00", b"%2F", b"%00", b"\xff\xfe", b"0\r\n\r\n", b"A" * 5000, b"A: b\r\n" * 70,
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:9911\r\n\r\n",
]  # fmt: skip
ASKED = b"GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1:9911\r\n\r\n"
DIALOGUES = some.lists(some.sampled_from([*WORDS, ASKED]) | some.binary(max_size=40), max_size=30)


def front_door() -> Answer:
    """The real one; neither its token nor an IMDS token is ever sent to it."""
    metadata = Imds(
        role=RoleArn.parse(ROLE_ARN),
        region="eu-west-1",
        tokens=SessionTokens(key=b"k" * 32, monotonic=lambda: 0.0),
        current=some_credentials,
    )
    container = ContainerEndpoint(
        token=BearerToken("T" * 43), current=some_credentials, problem=lambda: None
    )
    return FrontDoor(port=9911, container=container, imds=metadata).answer


@settings(max_examples=300, deadline=None)
@given(
    DIALOGUES,
    some.lists(some.sampled_from([1, 2, 7, 100, 5000, 1 << 20]), min_size=1),
    some.sampled_from([10, 300, 1 << 30]),
)
@example([ASKED] * 30, [1 << 20], 10)
@example([b"PUT /latest/api/token HTTP/1.1\r\nHost: 127.0.0.1:9911\r\n\r\n"], [1], 10)
def test_whatever_is_sent_the_answers_are_http(
    pieces: list[bytes], sizes: list[int], room: int
) -> None:
    asyncio.run(converse(b"".join(pieces), sizes, room=room))


async def converse(said: bytes, sizes: list[int], *, room: int) -> None:
    """Say it in pieces of ``sizes`` to a connection whose client has ``room`` for answers."""
    methods: list[str] = []
    door = front_door()

    def answer(ask: Ask) -> Reply:
        methods.append(ask.method)
        return door(ask)

    wire, connection, _ = a_wire(answer, room=room)
    for size in itertools.cycle(sizes):
        wire.receive(said[:size])
        assert connection._requests.waiting <= READ_BYTES + MAX_HEAD
        said = said[size:]
        if not said:
            break
        await turns(size % 4)
        wire.taken(size)
    while not wire.is_closed:
        wire.taken(1 << 20)
        await turns(2)
        wire.end()
    heard = bytes(wire.sent)
    assert len(methods) <= len(answers(heard, to=methods)) <= len(methods) + 1
    for secret in (SECRET_ACCESS_KEY, SESSION_TOKEN, "ASIAEXAMPLE", "T" * 43):
        assert secret.encode() not in heard


async def test_a_bug_in_an_answer_is_an_empty_500(caplog: pytest.LogCaptureFixture) -> None:
    def buggy(_: Ask) -> Reply:
        return Reply(200, headers={"A": "b\r\nC: d"})

    wire, _, _ = a_wire(buggy)
    wire.receive(GET % 1)
    assert answers(bytes(wire.sent), to=[]) == [(500, b"")]
    assert wire.has_said_all
    assert [one.message for one in caplog.records] == ["request failed"]


async def test_the_date_is_made_once_a_second() -> None:
    times = iter([10.0, 10.9, 11.1])
    shared = Shared(echo, Bounds(), wall=lambda: next(times))
    first, same, later = shared.date, shared.date, shared.date
    assert first == same == "Thu, 01 Jan 1970 00:00:10 GMT"
    assert later == "Thu, 01 Jan 1970 00:00:11 GMT"
