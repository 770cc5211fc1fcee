"""The serving certificate changes under a listener that never closes: real sockets, real TLS."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from rolesanywhere_operator.controller import minting
from rolesanywhere_operator.webhook.tls import ServingCertificate
from tests.operator.certificates import Pair, a_pair, an_rsa_key, for_clients_only


@dataclass
class Files:
    """The two files that a rotation writes."""

    folder: Path

    def __post_init__(self) -> None:
        self.certificate = self.folder / "tls.crt"
        self.private_key = self.folder / "tls.key"

    def hold(self, pair: Pair) -> None:
        self.certificate.write_bytes(pair.certificate)
        self.private_key.write_bytes(pair.private_key)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@asynccontextmanager
async def listening(tls: ssl.SSLContext) -> AsyncIterator[int]:
    """A TLS listener on a free loopback port that says hello to everybody."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def served_name(port: int, *, client: ssl.SSLContext | None = None, sni: str = "") -> str:
    """The common name of the certificate that a new connection is shown."""
    if client is None:
        client = ssl.create_default_context()
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client, server_hostname=sni
    )
    try:
        assert await reader.readline() == b"hello\n"
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
    subject = x509.load_der_x509_certificate(shown).subject
    return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


async def test_a_new_certificate_is_served_without_closing_the_listener(files: Files) -> None:
    files.hold(a_pair("first"))
    serving = ServingCertificate(files.certificate, files.private_key)
    assert serving.refresh()
    async with listening(serving.front) as port:
        assert await served_name(port) == "first"
        files.hold(a_pair("second"))
        assert serving.refresh()
        assert await served_name(port) == "second"
        assert await served_name(port, sni="webhook.example") == "second"


async def test_a_key_of_another_type_takes_the_old_ones_place(files: Files) -> None:
    files.hold(a_pair("elliptic"))
    serving = ServingCertificate(files.certificate, files.private_key)
    serving.refresh()
    async with listening(serving.front) as port:
        files.hold(a_pair("rsa", key=an_rsa_key()))
        assert serving.refresh()
        assert await served_name(port) == "rsa"


@pytest.mark.parametrize("left_behind", ["certificate", "private_key"])
async def test_a_torn_pair_keeps_the_one_before_until_it_is_whole(
    files: Files, left_behind: str
) -> None:
    old, new = a_pair("old"), a_pair("new")
    files.hold(old)
    serving = ServingCertificate(files.certificate, files.private_key)
    serving.refresh()
    async with listening(serving.front) as port:
        files.hold(new)
        getattr(files, left_behind).write_bytes(getattr(old, left_behind))
        assert not serving.refresh()
        assert await served_name(port) == "old"
        files.hold(new)
        assert serving.refresh()
        assert await served_name(port) == "new"


@pytest.mark.parametrize("garbage", [b"", b"-----BEGIN CERTIFICATE-----\n", None])
async def test_garbage_and_missing_files_keep_the_one_before(
    files: Files, garbage: bytes | None
) -> None:
    files.hold(a_pair("good"))
    serving = ServingCertificate(files.certificate, files.private_key)
    serving.refresh()
    async with listening(serving.front) as port:
        files.certificate.unlink()
        if garbage is not None:
            files.certificate.write_bytes(garbage)
        assert not serving.refresh()
        assert serving.loaded
        assert await served_name(port) == "good"


@pytest.mark.parametrize(
    ("starts_in", "problem"),
    [(-timedelta(days=2), "expired"), (timedelta(hours=1), "not yet valid")],
)
async def test_a_certificate_out_of_its_time_keeps_the_one_before(
    files: Files, starts_in: timedelta, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    files.hold(a_pair("good"))
    serving = ServingCertificate(files.certificate, files.private_key)
    serving.refresh()
    async with listening(serving.front) as port:
        files.hold(a_pair("untimely", starts_in=starts_in))
        assert [serving.refresh() for _ in range(3)] == [False] * 3
        assert await served_name(port) == "good"
    said = [vars(one) for one in caplog.records if one.levelno == logging.WARNING]
    assert len(said) == 1, "once, however often the files are looked at"
    assert problem in said[0]["problem"]
    assert said[0]["consequence"] == "the one before is kept"


def test_a_certificate_that_may_not_serve_is_not_taken(files: Files) -> None:
    files.hold(for_clients_only())
    assert not ServingCertificate(files.certificate, files.private_key).refresh()


def test_a_leaf_with_its_chain_is_taken_whoever_issued_it(files: Files) -> None:
    now = datetime.now(UTC)
    authority = minting.new_authority(now=now)
    leaf = minting.new_leaf(authority, hosts=["127.0.0.1"], now=now, ends=now + timedelta(days=1))
    chain = leaf.certificate.pem + authority.certificate.pem
    files.hold(Pair("leaf", chain.encode(), leaf.private_key.encode()))
    assert ServingCertificate(files.certificate, files.private_key).refresh()


async def test_a_connection_that_is_open_survives_the_change(files: Files) -> None:
    files.hold(a_pair("first"))
    serving = ServingCertificate(files.certificate, files.private_key)
    serving.refresh()
    released = asyncio.Event()

    async def slow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.write(b"hello\n")
        writer.close()

    client = ssl.create_default_context(cadata=files.certificate.read_text())
    server = await asyncio.start_server(slow, "127.0.0.1", 0, ssl=serving.front)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        files.hold(a_pair("second"))
        assert serving.refresh()
        released.set()
        assert await reader.readline() == b"hello\n"
        writer.close()


async def test_before_the_first_certificate_handshakes_fail_and_nothing_else(files: Files) -> None:
    serving = ServingCertificate(files.certificate, files.private_key)
    assert not serving.refresh()
    assert not serving.loaded
    async with listening(serving.front) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await served_name(port)
        files.hold(a_pair("late"))
        assert serving.refresh()
        assert await served_name(port) == "late"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_tls_before_1_2_is_not_spoken(files: Files) -> None:
    files.hold(a_pair("first"))
    serving = ServingCertificate(files.certificate, files.private_key)
    serving.refresh()
    old_fashioned = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old_fashioned.check_hostname = False
    old_fashioned.verify_mode = ssl.CERT_NONE
    old_fashioned.set_ciphers("ALL:@SECLEVEL=0")
    old_fashioned.minimum_version = old_fashioned.maximum_version = ssl.TLSVersion.TLSv1_1
    async with listening(serving.front) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await served_name(port, client=old_fashioned)
    # The client could: it is understood by a server as old as itself.
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    lax.minimum_version = ssl.TLSVersion.TLSv1_1
    lax.set_ciphers("ALL:@SECLEVEL=0")
    lax.load_cert_chain(files.certificate, files.private_key)
    async with listening(lax) as port:
        assert await served_name(port, client=old_fashioned) == "first"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_clients_verify_what_is_served(files: Files, version: ssl.TLSVersion) -> None:
    files.hold(a_pair("verified"))
    serving = ServingCertificate(files.certificate, files.private_key)
    serving.refresh()
    client = ssl.create_default_context(cadata=files.certificate.read_text())
    client.minimum_version = client.maximum_version = version
    async with listening(serving.front) as port:
        assert await served_name(port, client=client, sni="127.0.0.1") == "verified"


def test_files_that_did_not_change_are_not_taken_up_again(files: Files) -> None:
    files.hold(a_pair("same"))
    serving = ServingCertificate(files.certificate, files.private_key)
    assert [serving.refresh(), serving.refresh()] == [True, False]


def test_a_key_under_a_passphrase_is_refused_and_nobody_is_asked(files: Files) -> None:
    pair = a_pair("locked")
    files.hold(pair)
    key = serialization.load_pem_private_key(pair.private_key, password=None)
    files.private_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    assert not ServingCertificate(files.certificate, files.private_key).refresh()
