"""Everything that can go wrong on the way to a session, as a sentence with an address."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.failures import (
    EndpointUnreachable,
    InvalidReply,
    ServiceFailure,
    ServiceUnavailable,
    Throttled,
)
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles
from rolesanywhere_sidecar.service.proxies import InvalidProxy
from rolesanywhere_sidecar.service.rolesanywhere import RolesAnywhere
from rolesanywhere_sidecar.service.transport import Transport
from rolesanywhere_sidecar.service.trust import InvalidCABundle
from rolesanywhere_sidecar.signing import SignedRequest
from tests.fakes import faults
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.faults import Fault
from tests.fakes.pki import Authority
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world

Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

REQUEST = SignedRequest(target="/sessions?a=b%3Ac", headers={"host": "127.0.0.1"}, body=b"{}")


def client_of(folder: Path, endpoint: str, *, ca_file: Path | None = None) -> RolesAnywhere:
    settings = Settings.from_env(
        {
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
            "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
            "ROLESANYWHERE_CERTIFICATE": str(folder / "identity.pem"),
            "ROLESANYWHERE_ENDPOINT": endpoint,
            "ROLESANYWHERE_CA_BUNDLE": str(ca_file or ""),
        }
    )
    return RolesAnywhere(settings, IdentityFiles.of(settings), now=utc_now, env={})


@pytest.fixture
async def aws(tmp_path: Path) -> AsyncIterator[FakeAWS]:
    root = Authority.root(at=utc_now())
    leaf = root.leaf(at=utc_now())
    (tmp_path / "identity.pem").write_bytes(leaf.certificate_pem + leaf.key_pem())
    async with FakeAWS.start(small_world(root.certificate)) as started:
        yield started


@asynccontextmanager
async def listening(respond: Respond, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The URL of a server on loopback that treats each connection with ``respond``."""
    tasks: set[asyncio.Task[None]] = set()

    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await respond(reader, writer)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(treat(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{port}"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()
        await server.wait_closed()


def saying(answer: bytes) -> Respond:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return respond


async def silence(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@asynccontextmanager
async def a_sender(
    url: str,
    *,
    ca_bundle: str | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = 10,
) -> AsyncIterator[Transport]:
    sender = Transport(
        url, ca_bundle=ca_bundle, env=env or {}, connect_seconds=seconds, total_seconds=seconds
    )
    try:
        yield sender
    finally:
        await sender.close()


async def failure(
    url: str,
    *,
    ca_bundle: str | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = 10,
) -> RolesAnywhereError:
    """What becomes of a request to ``url``."""
    async with a_sender(url, ca_bundle=ca_bundle, env=env, seconds=seconds) as sender:
        with pytest.raises(RolesAnywhereError) as caught:
            await sender.post(REQUEST)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (faults.server_error(500), ServiceUnavailable, "500 with InternalServerException"),
        (faults.server_error(502, as_json=False), ServiceUnavailable, "something that is not"),
        (faults.throttled(), Throttled, "ThrottlingException: Rate exceeded"),
        (faults.garbage(), InvalidReply, "is not a JSON object"),
        (faults.garbage(body=b""), InvalidReply, "is not a JSON object"),
        (faults.empty_set(), InvalidReply, "has an empty credentialSet"),
        (faults.Answer(307, b"", {"Location": "/sessions"}), InvalidReply, "follows no redirect"),
        (faults.Reset(), EndpointUnreachable, "127.0.0.1:"),
    ],
)
async def test_each_fault_of_the_service_is_a_failure_that_passes(
    aws: FakeAWS, tmp_path: Path, fault: Fault, error: type[ServiceFailure], says: str
) -> None:
    client = client_of(tmp_path, aws.rolesanywhere_url)
    try:
        aws.faults.next(fault)
        with pytest.raises(error) as caught:
            await client.create_session()
        assert says in str(caught.value)
        assert caught.value.retryable
        assert caught.value.__cause__ is None
        await client.create_session()
    finally:
        await client.close()
    assert len(aws.requests) == 2  # no retry, no redirect followed


async def test_the_services_wish_when_to_come_again_is_passed_on(
    aws: FakeAWS, tmp_path: Path
) -> None:
    client = client_of(tmp_path, aws.rolesanywhere_url)
    aws.faults.next(faults.throttled(retry_after=7))
    with pytest.raises(Throttled) as caught:
        await client.create_session()
    assert caught.value.retry_after == 7
    await client.close()


async def test_a_late_answer_within_the_time_is_a_session(aws: FakeAWS, tmp_path: Path) -> None:
    client = client_of(tmp_path, aws.rolesanywhere_url)
    aws.faults.next(faults.Delay(0.3))
    credentials = await client.create_session()
    assert credentials.expires > utc_now() + timedelta(minutes=50)
    await client.close()


async def test_nobody_listening_is_said_with_host_and_port() -> None:
    async with listening(silence) as url:
        pass
    problem = await failure(url)
    assert isinstance(problem, EndpointUnreachable)
    address = url.removeprefix("http://")
    assert str(problem).startswith(f"{address} cannot be reached: Connection refused;")
    assert problem.retryable


async def test_a_name_that_does_not_resolve_is_said_to_be_so() -> None:
    problem = await failure("https://rolesanywhere.nowhere.invalid")
    assert "rolesanywhere.nowhere.invalid:443 cannot be reached: its name" in str(problem)


async def test_an_endpoint_that_never_answers_is_given_up() -> None:
    async with listening(silence) as url:
        started = time.monotonic()
        problem = await failure(url, seconds=0.3)
    assert "no answer within 0.3 seconds" in str(problem)
    assert time.monotonic() - started < 5


async def test_an_answer_that_trickles_is_given_up_too() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with listening(trickle) as url:
        assert "no answer within 0.4 seconds" in str(await failure(url, seconds=0.4))


async def test_who_sets_no_bounds_waits_fifteen_seconds_for_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_a_hurry(monkeypatch, whoever_has=15)
    async with listening(silence) as url, a_transport(url) as sender:
        with pytest.raises(EndpointUnreachable, match="no answer within 15 seconds"):
            await sender.post(REQUEST)


async def test_and_five_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolving(*_: object, **__: object) -> NoReturn:
        await asyncio.Event().wait()
        raise AssertionError

    in_a_hurry(monkeypatch, whoever_has=5)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolving)
    async with a_transport("http://aws.invalid") as sender:
        with pytest.raises(EndpointUnreachable, match="no connection within 5 seconds"):
            await sender.post(REQUEST)


@asynccontextmanager
async def a_transport(url: str) -> AsyncIterator[Transport]:
    """As the service's client has it."""
    sender = Transport(url, ca_bundle=None, env={})
    try:
        yield sender
    finally:
        await sender.close()


def in_a_hurry(monkeypatch: pytest.MonkeyPatch, *, whoever_has: float) -> None:
    """Let what is given so many seconds have a fiftieth of them, and all else what it is given.

    So nothing else is late first, however busy the machine.
    """
    patient = asyncio.timeout

    def timeout(seconds: float | None) -> asyncio.Timeout:
        return patient(whoever_has / 50 if seconds == whoever_has else seconds)

    monkeypatch.setattr(asyncio, "timeout", timeout)


async def test_an_answer_without_end_is_cut_off() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 99999999\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 65536)
            await writer.drain()

    async with listening(flood) as url:
        problem = await failure(url)
    assert isinstance(problem, InvalidReply)
    assert "answered with more than 262144 bytes" in str(problem)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 201 Created\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_an_answer_that_is_no_http_is_unreachable(answer: bytes) -> None:
    async with listening(saying(answer)) as url:
        problem = await failure(url)
    assert isinstance(problem, EndpointUnreachable)
    assert url.removeprefix("http://") in str(problem)


async def test_the_request_arrives_as_it_was_signed() -> None:
    seen: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen.append(await reader.readexactly(2))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with listening(keep) as url, a_sender(url) as sender:
        reply = await sender.post(REQUEST)
    assert (reply.status, reply.body) == (200, b"")
    head, body = seen
    assert head.startswith(b"POST /sessions?a=b%3Ac HTTP/1.1\r\n")
    assert b"\r\nhost: 127.0.0.1\r\n" in head.lower()
    assert head.lower().count(b"\r\nhost:") == 1
    assert b"\r\nuser-agent: rolesanywhere-sidecar/" in head.lower()
    assert body == b"{}"


# TLS


def a_server(folder: Path, *hosts: str) -> tuple[Path, ssl.SSLContext]:
    """The authority's file, and a context that serves as ``hosts``."""
    authority = Authority.root("TLS", at=utc_now())
    server = authority.server(at=utc_now(), hosts=hosts)
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    (folder / "server.pem").write_bytes(server.certificate_pem + server.key_pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return folder / "ca.pem", context


OK = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def test_an_unknown_authority_is_not_trusted(tmp_path: Path) -> None:
    _, context = a_server(tmp_path, "127.0.0.1")
    async with listening(OK, context) as url:
        problem = await failure(url)
    assert "its TLS certificate is not trusted (unable to get local issuer" in str(problem)
    assert "ROLESANYWHERE_CA_BUNDLE" in str(problem)


async def test_another_hosts_certificate_is_not_trusted(tmp_path: Path) -> None:
    bundle, context = a_server(tmp_path, "example.com")
    async with listening(OK, context) as url:
        problem = await failure(url, ca_bundle=str(bundle))
    assert "its TLS certificate is not trusted (IP address mismatch" in str(problem)


async def test_plain_http_where_tls_is_expected_is_said_to_be_so() -> None:
    async with listening(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as url:
        problem = await failure(url.replace("http:", "https:"), seconds=2)
    assert isinstance(problem, EndpointUnreachable)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is not a PEM file of certificates"),
        (b"\xff\xfe", "is not a PEM file of certificates"),
        (
            b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----",
            "is not a PEM file of certificates",
        ),
    ],
)
async def test_a_bad_bundle_is_told_and_heals(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    good, context = a_server(tmp_path, "127.0.0.1")
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    async with (
        listening(OK, context) as url,
        a_sender(url, ca_bundle=str(bundle)) as sender,
    ):
        with pytest.raises(InvalidCABundle) as caught:
            await sender.post(REQUEST)
        assert str(caught.value) == (
            f"the CA bundle {bundle} {reason}; check --ca-bundle (ROLESANYWHERE_CA_BUNDLE)"
        )
        bundle.write_bytes(good.read_bytes())
        assert (await sender.post(REQUEST)).status == 200
        bundle.write_bytes(b"")  # a failed reload keeps the last good bundle
        assert (await sender.post(REQUEST)).status == 200


# Proxies


async def test_a_proxy_is_used_and_named_without_its_password() -> None:
    seen: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with listening(refuse) as url:
        proxy = url.replace("http://", "http://user:hunter2@")
        problem = await failure("https://aws.invalid", env={"https_proxy": proxy})
    assert seen[0].startswith(b"CONNECT aws.invalid:443 HTTP/1.1\r\n")
    assert (
        f"aws.invalid:443 cannot be reached through the proxy {url.removeprefix('http://')}:"
        " the proxy answered 407" in str(problem)
    )
    assert "hunter2" not in str(problem) + repr(problem)


async def test_a_proxy_that_is_down_is_told_from_the_endpoint() -> None:
    async with listening(silence) as url:
        pass
    problem = await failure("https://aws.invalid", env={"https_proxy": url})
    assert f"through the proxy {url.removeprefix('http://')}: Connection refused" in str(problem)
    assert isinstance(problem, EndpointUnreachable)


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1", "http://svc:S3cr/etPass@host:3128"])
async def test_a_wrong_proxy_fails_each_session_with_its_variables_name(value: str) -> None:
    async with a_sender("https://aws.invalid", env={"all_proxy": value}) as sender:
        for _ in range(2):
            with pytest.raises(InvalidProxy, match=r"^all_proxy is not the URL") as caught:
                await sender.post(REQUEST)
            assert "S3cr" not in str(caught.value) + repr(caught.value.__context__)


async def test_loopback_is_asked_directly_whatever_the_environment_says() -> None:
    env = {"http_proxy": "http://127.0.0.1:1"}
    async with listening(OK) as url, a_sender(url, env=env) as sender:
        assert (await sender.post(REQUEST)).status == 200


async def test_netrc_never_replaces_our_authorization(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    seen: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with listening(keep) as url, a_sender(url) as sender:
        await sender.post(REQUEST)
    assert b"authorization" not in seen[0].lower()
