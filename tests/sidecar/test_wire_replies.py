"""Whatever bytes come back on a connection: a reply, or one of the few things said of none.

Byte by byte or at once, for the service's reply as for a proxy's answer to CONNECT.
"""

import asyncio
from email.utils import format_datetime
from typing import Final, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rolesanywhere_sidecar.failures import InvalidReply
from rolesanywhere_sidecar.service.conversation import LARGEST_REPLY_BYTES, Conversation
from rolesanywhere_sidecar.service.dialing import Unreached, Way, _tunnel
from rolesanywhere_sidecar.service.proxies import Proxy
from rolesanywhere_sidecar.service.sessions import Reply, date_of
from rolesanywhere_sidecar.signing import SignedRequest

REQUEST: Final = SignedRequest(target="/sessions", headers={"host": "aws"}, body=b"{}")
WAY: Final = Way("aws", 443, None, None)
PROXY: Final = Proxy(url="http://u:p@proxy:80", address="proxy:80")
GOOD: Final = (
    b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nDate: Sat, 14 Mar 2026 09:26:53 GMT\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"HTTP/1.0 403 Forbidden\r\nConnection: close\r\n\r\nno",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 Connection established\r\n\r\n",
)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Good replies in a row, somewhat changed."""
    content = bytearray(b"".join(draw(st.lists(st.sampled_from(GOOD), min_size=1, max_size=2))))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(content)))
        content[place : place + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


anything = mutated() | st.binary(max_size=300)


class Sink:
    """The other direction: takes what is written, and forgets it."""

    @property
    def transport(self) -> "Sink":
        return self

    def write(self, data: bytes) -> None:
        return

    async def drain(self) -> None:
        return

    def abort(self) -> None:
        return


def streams(said: bytes, *, step: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which ``said`` comes, ``step`` bytes at a time, and then the end."""
    return Stepping(said, step), cast("asyncio.StreamWriter", Sink())


class Stepping(asyncio.StreamReader):
    def __init__(self, said: bytes, step: int) -> None:
        super().__init__()
        self._left, self._step = said, step

    async def read(self, n: int = -1) -> bytes:
        size = min(self._step, n) if n >= 0 else self._step
        piece, self._left = self._left[:size], self._left[size:]
        return piece


async def answered(said: bytes, *, step: int = 8192) -> Reply | Exception:
    """The reply, or what is known to be raised; anything else fails the test by itself."""
    conversation = Conversation(WAY, streams(said, step=step))
    try:
        reply = await conversation.post(REQUEST)
    except (Unreached, InvalidReply) as problem:
        return problem
    conversation.may_go_on()
    return reply


@unhurried
@given(anything, st.sampled_from([1, 7, 8192]))
async def test_any_bytes_are_a_reply_or_a_known_failure(said: bytes, step: int) -> None:
    outcome = await answered(said, step=step)
    if isinstance(outcome, Reply):
        assert 200 <= outcome.status < 1000
        assert len(outcome.body) <= len(said)
        date_of(outcome)


@pytest.mark.parametrize("said", GOOD[:4])
@pytest.mark.parametrize("step", [1, 8192])
async def test_what_is_mutated_here_was_good(said: bytes, step: int) -> None:
    outcome = await answered(said, step=step)
    assert isinstance(outcome, Reply)
    assert outcome.status in {200, 201, 403, 429}


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (LARGEST_REPLY_BYTES + 1),
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * LARGEST_REPLY_BYTES,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    ],
    ids=["body", "head", "without end"],
)
async def test_what_is_too_long_is_not_read_to_its_end(said: bytes) -> None:
    assert isinstance(await answered(said), Unreached | InvalidReply)


@unhurried
@given(anything, st.sampled_from([1, 7, 4096]))
async def test_any_answer_to_connect_is_a_tunnel_or_a_known_failure(said: bytes, step: int) -> None:
    reader, writer = streams(said, step=step)
    try:
        await _tunnel(reader, writer, PROXY, to="aws:443")
    except Unreached:
        return
    assert b"HTTP/" in said


@given(
    st.text(max_size=60)
    | st.datetimes().map(lambda when: format_datetime(when))
    | st.from_regex(r"\A[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{1,9} \d\d:\d\d:\d\d [+-]?\w{1,6}\Z")
)
@example("Fri, 31 Dec 9999 23:59:59 GMT")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Sat, 14 Mar 2026 09:26:53 +999999999999")
def test_any_date_header_is_a_time_or_none(text: str) -> None:
    found = date_of(Reply(201, {"date": text}, b""))
    assert found is None or found.tzinfo is not None
