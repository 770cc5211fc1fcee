"""The faults of the line and of the pretended AWS are what they are called."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from tests.fakes import faults
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.line import Line
from tests.fakes.pki import Authority
from tests.fakes.world import World, small_world

REQUEST = b"POST /sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def world() -> World:
    return small_world(Authority.root(at=utc_now()).certificate)


@pytest.fixture
async def aws(world: World) -> AsyncIterator[FakeAWS]:
    async with FakeAWS.start(world) as started:
        yield started


@pytest.fixture
async def line(aws: FakeAWS) -> AsyncIterator[Line]:
    async with Line.to(aws.rolesanywhere_url) as laid:
        yield laid


# Seconds: what comes at all comes within the first, also on a busy machine; that nothing comes is
# believed after the second.
PATIENCE, A_MOMENT = 20.0, 0.5


async def connected(
    line: Line, *, within: float = PATIENCE
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = line.url.removeprefix("http://").partition(":")
    async with asyncio.timeout(within):
        return await asyncio.open_connection(host, int(port))


async def reply(line: Line, *, within: float = PATIENCE) -> bytes:
    """The first of what comes back for one request. Raises TimeoutError when nothing does."""
    reader, writer = await connected(line)
    try:
        writer.write(REQUEST)
        return await asyncio.wait_for(reader.read(65536), timeout=within)
    finally:
        writer.close()


async def test_a_line_passes_everything_on(line: Line) -> None:
    assert (await reply(line)).startswith(b"HTTP/1.1 403 ")


async def test_each_fault_of_a_line_is_what_it_is_called_and_can_be_mended(line: Line) -> None:
    await line.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connected(line)
    await line.black_hole()
    with pytest.raises(TimeoutError):
        await connected(line, within=A_MOMENT)
    await line.swallow()
    with pytest.raises(TimeoutError):
        await reply(line, within=A_MOMENT)
    await line.mend()
    assert await reply(line) != b""


async def test_a_fault_breaks_connections_that_are_open(line: Line) -> None:
    reader, writer = await connected(line)
    await line.refuse()
    assert await asyncio.wait_for(reader.read(), timeout=PATIENCE) == b""
    writer.close()


async def test_a_line_can_lead_elsewhere_and_back(line: Line, world: World) -> None:
    async with FakeAWS.start(world) as elsewhere:
        await line.lead_to(elsewhere.rolesanywhere_url)
        await reply(line)
        assert len(elsewhere.requests) == 1
        await line.mend()
        await reply(line)
        assert len(elsewhere.requests) == 1


async def test_a_reset_comes_through_a_line_as_one(aws: FakeAWS, line: Line) -> None:
    aws.faults.always(faults.Reset())
    with pytest.raises(ConnectionResetError):
        await reply(line)


async def test_a_cut_answer_has_a_head_and_half_of_its_body(aws: FakeAWS) -> None:
    aws.faults.always(faults.Cut())
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{aws.rolesanywhere_url}/sessions") as response,
    ):
        assert response.status == 403
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_the_service_dates_its_answers_by_its_own_clock(world: World) -> None:
    ahead = timedelta(hours=1)
    async with (
        FakeAWS.start(world, clock=lambda: utc_now() + ahead) as aws,
        aiohttp.ClientSession() as client,
        client.post(f"{aws.rolesanywhere_url}/sessions") as response,
    ):
        dated = parsedate_to_datetime(response.headers["Date"])
    assert abs(dated - datetime.now(UTC) - ahead) < timedelta(seconds=30)
