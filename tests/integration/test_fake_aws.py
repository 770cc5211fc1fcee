"""The pretended services over real sockets: what arrives, what is answered, what can go wrong."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fakes import faults, pki, signer
from tests.fakes.aws import FakeAWS
from tests.fakes.dialogue import send
from tests.fakes.recorded import essence
from tests.fakes.scene import NOW, PROFILE, a_scene, with_profile
from tests.fakes.sts import NAMESPACE
from tests.fakes.wire import WireRequest
from tests.fakes.world import REGION

SCENE = a_scene()


@pytest.fixture
async def aws() -> AsyncIterator[FakeAWS]:
    async with FakeAWS.start(SCENE.world, clock=lambda: NOW) as started:
        yield started


async def test_a_good_request_gets_its_session(aws: FakeAWS) -> None:
    reply = await send(aws.rolesanywhere_url, SCENE.request())
    assert reply.status == 201
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == aws.sessions[0].document()
    assert [(each.service, each.verdict) for each in aws.requests] == [("rolesanywhere", "ok")]


async def test_a_refusal_has_the_services_shape(aws: FakeAWS) -> None:
    reply = await send(aws.rolesanywhere_url, SCENE.request(key=pki.new_key("p256")))
    assert reply.status == 403
    assert reply.headers["x-amzn-errortype"] == "AccessDeniedException"
    assert reply.json() == {"message": "Invalid signature"}
    assert aws.requests[0].verdict == "AccessDeniedException"
    assert aws.requests[0].detail == "Invalid signature"
    assert not aws.sessions


@pytest.mark.parametrize("path", ["/%73essions", "/./sessions", "//sessions", "/sessions#x"])
async def test_the_path_is_taken_as_it_came(aws: FakeAWS, path: str) -> None:
    """A framework would decode and tidy these into /sessions."""
    request = SCENE.request()
    changed = replace(request, target=request.target.replace("/sessions", path, 1))
    assert (await send(aws.rolesanywhere_url, changed)).status in (400, 403, 404)
    assert not aws.sessions


@pytest.mark.parametrize("extra", ["&x=", "&", "&profileArn=", "%20", "+", "#x"])
async def test_the_query_is_taken_as_it_came(aws: FakeAWS, extra: str) -> None:
    """An empty parameter is no parameter; anything else was not signed."""
    request = SCENE.request()
    reply = await send(aws.rolesanywhere_url, replace(request, target=request.target + extra))
    assert reply.status == (201 if extra == "&" else 403)


async def test_the_body_is_taken_as_it_came(aws: FakeAWS) -> None:
    """Compressed, it is not what was signed, whatever Content-Encoding says."""
    request = SCENE.request()
    headers = (*request.headers, ("Content-Encoding", "gzip"))
    packed = replace(request, headers=headers, body=gzip.compress(request.body))
    assert (await send(aws.rolesanywhere_url, packed)).status == 403


async def test_a_chunked_body_is_the_same_body(aws: FakeAWS) -> None:
    request = SCENE.request()
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(request.body), request.body)
    headers = (*request.headers, ("Transfer-Encoding", "chunked"))
    reply = await send(aws.rolesanywhere_url, replace(request, headers=headers, body=chunked))
    assert reply.status == 201


async def test_a_long_chain_fits_in_a_header(aws: FakeAWS) -> None:
    authority = SCENE.root
    for level in range(4):
        authority = authority.intermediate(f"Level {level}", at=NOW, kind="rsa-3072")
    scene = SCENE.as_(authority.leaf(at=NOW, kind="rsa-3072"))
    assert (await send(aws.rolesanywhere_url, scene.request())).status == 201


async def test_the_world_can_change_while_it_runs(aws: FakeAWS) -> None:
    aws.account.world = with_profile(SCENE.world, replace(PROFILE, enabled=False))
    assert (await send(aws.rolesanywhere_url, SCENE.request())).status == 403


async def statuses(aws: FakeAWS, count: int) -> list[int]:
    return [(await send(aws.rolesanywhere_url, SCENE.request())).status for _ in range(count)]


async def test_ten_sessions_a_second_and_no_more() -> None:
    elapsed = [timedelta()]
    async with FakeAWS.start(SCENE.world, clock=lambda: NOW + elapsed[0]) as aws:
        assert await statuses(aws, 12) == [201] * 10 + [429] * 2
        elapsed[0] = timedelta(milliseconds=200)
        assert await statuses(aws, 3) == [201, 201, 429]
        elapsed[0] = timedelta(seconds=100)
        assert await statuses(aws, 11) == [201] * 10 + [429]
        assert len(aws.sessions) == 22


async def test_throttling_has_the_services_shape() -> None:
    world = replace(SCENE.world, create_session_rate=1)
    async with FakeAWS.start(world, clock=lambda: NOW) as aws:
        await send(aws.rolesanywhere_url, SCENE.request())
        reply = await send(aws.rolesanywhere_url, SCENE.request())
    assert reply.headers["x-amzn-errortype"] == "ThrottlingException"
    assert reply.json() == {"message": "Rate exceeded"}
    assert aws.requests[-1].verdict == "ThrottlingException"


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (faults.server_error(), 503),
        (faults.server_error(500, as_json=False), 500),
        (faults.throttled(retry_after=7), 429),
        (faults.garbage(), 201),
        (faults.garbage(200, b""), 200),
        (faults.empty_set(), 201),
    ],
)
async def test_a_fault_answers_instead(aws: FakeAWS, fault: faults.Answer, status: int) -> None:
    aws.faults.next(fault)
    reply = await send(aws.rolesanywhere_url, SCENE.request())
    assert (reply.status, reply.body) == (status, fault.body)
    assert reply.headers.get("retry-after") == fault.headers.get("Retry-After")
    assert not aws.sessions
    assert (aws.requests[0].verdict, aws.requests[0].fault) == ("ok", fault)
    assert (await send(aws.rolesanywhere_url, SCENE.request())).status == 201


async def test_a_connection_can_be_reset(aws: FakeAWS) -> None:
    aws.faults.next(faults.Reset())
    with pytest.raises(ConnectionResetError):
        await send(aws.rolesanywhere_url, SCENE.request())
    assert (await send(aws.rolesanywhere_url, SCENE.request())).status == 201


async def test_an_answer_can_be_late(aws: FakeAWS) -> None:
    aws.faults.next(faults.Delay(0.2))
    clock = asyncio.get_running_loop().time
    start = clock()
    assert (await send(aws.rolesanywhere_url, SCENE.request())).status == 201
    assert clock() - start >= 0.2


async def test_faults_come_in_order_and_can_stay(aws: FakeAWS) -> None:
    aws.faults.next(faults.server_error(500), times=2)
    aws.faults.next(None)
    aws.faults.always(faults.server_error(502))
    assert await statuses(aws, 5) == [500, 500, 201, 502, 502]
    aws.faults.clear()
    assert await statuses(aws, 1) == [201]


async def test_the_holder_of_a_session_learns_who_it_is(aws: FakeAWS) -> None:
    await send(aws.rolesanywhere_url, SCENE.request())
    [issued] = aws.sessions
    draft = signer.Draft(path="/", body=b"Action=GetCallerIdentity&Version=2011-06-15")
    request = signer.with_secret(draft, issued, at=NOW, region=REGION, host="sts")
    reply = await send(aws.sts_url, request)
    assert reply.status == 200
    assert NAMESPACE in reply.body.decode()
    assert issued.session.assumed_role_arn in reply.body.decode()
    assert aws.requests[-1].service == "sts"


async def test_sts_says_no_in_xml(aws: FakeAWS) -> None:
    reply = await send(aws.sts_url, SCENE.request())
    assert reply.status == 403
    assert reply.headers["content-type"] == "text/xml"
    assert b"<Code>SignatureDoesNotMatch</Code>" in reply.body


async def test_over_https_it_shows_a_certificate_of_its_own_authority(tmp_path: Path) -> None:
    async with FakeAWS.start(SCENE.world, tls_folder=tmp_path) as aws:
        where = urlsplit(aws.sts_url)
        assert where.scheme == "https"
        trusting = ssl.create_default_context(cafile=aws.ca_file)
        _, writer = await asyncio.open_connection(where.hostname, where.port, ssl=trusting)
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(
                where.hostname, where.port, ssl=ssl.create_default_context()
            )


async def test_it_is_gone_when_the_block_ends() -> None:
    async with FakeAWS.start(SCENE.world) as aws:
        pass
    with pytest.raises(ConnectionRefusedError):
        await send(aws.rolesanywhere_url, SCENE.request())


async def test_two_requests_for_the_same_have_one_essence(aws: FakeAWS) -> None:
    later = NOW + timedelta(seconds=9)
    first, second = SCENE.request(), SCENE.request(at=later, headers={"Amz-Sdk-Request": "x"})
    assert first != second
    assert essence(first) == essence(second)


@pytest.mark.parametrize(
    "other",
    [
        SCENE.request(body={"durationSeconds": 900}),
        SCENE.request(arns={}),
        replace(SCENE.request(), target=SCENE.request().target + "&"),
        SCENE.request(headers={"X-Amz-Note": "x"}),
        SCENE.request(headers={"Content-Type": "text/plain"}),
        a_scene("rsa-2048").request(),
    ],
    ids=["body", "query", "spelling", "one header more", "another value", "another key"],
)
async def test_requests_that_differ_have_another_essence(other: WireRequest) -> None:
    assert essence(SCENE.request()) != essence(other)
