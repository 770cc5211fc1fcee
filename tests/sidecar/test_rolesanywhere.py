"""Which identity signs: what is on disk, or the last that was good, and what is told of it."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import rolesanywhere
from rolesanywhere_sidecar.failures import AccessDenied
from rolesanywhere_sidecar.identities import UnreadableFile
from rolesanywhere_sidecar.identity import CertificateExpired, Identity, InvalidIdentity, assemble
from rolesanywhere_sidecar.keys import SigningKey, open_key
from rolesanywhere_sidecar.rolesanywhere import RolesAnywhere
from rolesanywhere_sidecar.sessions import Reply
from rolesanywhere_sidecar.signing import SignedRequest
from tests.fakes import pki
from tests.fakes.pki import LEAF, Authority
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
ROOT = Authority.root(at=NOW)
GOOD = ROOT.leaf("good", at=NOW)
NEXT = ROOT.leaf("next", at=NOW)
AUTHORITY = ROOT.intermediate("authority", at=NOW)
GONE = UnreadableFile("the certificate tls.crt cannot be read")

SETTINGS = Settings.from_env(
    {
        "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
        "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
        "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
        "ROLESANYWHERE_CERTIFICATE": "tls.crt",
    }
)


class Disk:
    """Holds an identity, or refuses to be read."""

    def __init__(self, held: pki.Identity | RolesAnywhereError) -> None:
        self.held = held

    async def load(self) -> tuple[Identity, SigningKey]:
        if isinstance(self.held, RolesAnywhereError):
            raise self.held
        key = open_key("tls.key", self.held.key_pem())
        certificates = [self.held.certificate, *self.held.chain]
        return assemble(certificates, public_key=key.public_key, where="tls.crt"), key


class Wire:
    """In the transport's place: keeps what is sent, and answers it."""

    def __init__(self) -> None:
        self.sent: list[SignedRequest] = []
        self.reply = Reply(403, {"x-amzn-errortype": "AccessDeniedException"}, b"{}")

    async def post(self, request: SignedRequest) -> Reply:
        self.sent.append(request)
        return self.reply

    async def close(self) -> None:
        return

    @property
    def serials(self) -> list[int]:
        return [
            int(request.headers["authorization"].partition("Credential=")[2].partition("/")[0])
            for request in self.sent
        ]


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    found = Wire()
    monkeypatch.setattr(rolesanywhere, "Transport", lambda *_, **__: found)
    return found


@asynccontextmanager
async def a_client(disk: Disk, clock: Clock | None = None) -> AsyncIterator[RolesAnywhere]:
    client = RolesAnywhere(
        SETTINGS, disk, now=(clock or Clock()).now, env={}, new_id=lambda: "an-id"
    )
    try:
        yield client
    finally:
        await client.close()


async def ask(client: RolesAnywhere) -> None:
    """The wire refuses everything; what counts is what was sent."""
    with pytest.raises(AccessDenied):
        await client.create_session()


async def test_each_request_is_signed_with_what_is_on_disk(wire: Wire) -> None:
    disk = Disk(GOOD)
    async with a_client(disk) as client:
        await ask(client)
        disk.held = NEXT
        await ask(client)
        assert client.identity is not None
        assert client.identity.leaf == NEXT.certificate
    assert wire.serials == [GOOD.certificate.serial_number, NEXT.certificate.serial_number]


async def test_each_request_has_its_own_date_and_the_given_id(wire: Wire) -> None:
    clock = Clock()
    async with a_client(Disk(GOOD), clock) as client:
        await ask(client)
        clock.time += timedelta(minutes=1)
        await ask(client)
    dates = [request.headers["x-amz-date"] for request in wire.sent]
    assert dates == ["20260314T092653Z", "20260314T092753Z"]
    assert wire.sent[0].headers["amz-sdk-invocation-id"] == "an-id"


@pytest.mark.parametrize(
    "worse",
    [
        GONE,
        ROOT.leaf(at=NOW, template=replace(LEAF, starts=timedelta(days=-9))),
        AUTHORITY,
    ],
    ids=["unreadable", "expired", "authority"],
)
async def test_an_unusable_identity_never_replaces_one_that_is_still_good(
    wire: Wire, worse: pki.Identity | RolesAnywhereError, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(GOOD)
    async with a_client(disk) as client:
        await ask(client)
        assert client.last_problem is None
        disk.held = worse
        await ask(client)
        problem = client.last_problem
        assert problem is not None
        [record] = [kept for kept in caplog.records if kept.msg == "earlier identity kept"]
        assert record.levelno == logging.WARNING
        assert vars(record)["problem"] == str(problem)
        disk.held = NEXT
        await ask(client)
        assert client.last_problem is None
    good, following = GOOD.certificate.serial_number, NEXT.certificate.serial_number
    assert wire.serials == [good, good, following]


async def test_an_earlier_identity_is_not_used_past_its_time(wire: Wire) -> None:
    disk, clock = Disk(GOOD), Clock()
    async with a_client(disk, clock) as client:
        await ask(client)
        disk.held = GONE
        clock.time = GOOD.certificate.not_valid_after_utc
        with pytest.raises(UnreadableFile):
            await client.create_session()
        assert client.last_problem is GONE
    assert len(wire.sent) == 1


@pytest.mark.parametrize(
    ("held", "error"),
    [
        (GONE, UnreadableFile),
        (AUTHORITY, InvalidIdentity),
        (
            ROOT.leaf(at=NOW, template=replace(LEAF, starts=timedelta(days=-9))),
            CertificateExpired,
        ),
    ],
    ids=["unreadable", "authority", "expired"],
)
async def test_what_the_service_would_refuse_is_never_sent(
    wire: Wire, held: pki.Identity | RolesAnywhereError, error: type[RolesAnywhereError]
) -> None:
    async with a_client(Disk(held)) as client:
        with pytest.raises(error):
            await client.create_session()
        assert client.identity is None
    assert not wire.sent


async def test_a_doubtful_identity_is_used_and_told_of_once(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    doubtful = ROOT.leaf(at=NOW, template=replace(LEAF, usage=None, lives=timedelta(days=9)))
    async with a_client(Disk(doubtful)) as client:
        await ask(client)
        await ask(client)
    told = [kept for kept in caplog.records if kept.msg == "identity questionable"]
    assert ["no readable key usage" in vars(record)["problem"] for record in told] == [True]
    assert len(wire.sent) == 2
