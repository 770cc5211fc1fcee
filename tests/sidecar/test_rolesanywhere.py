"""Which identity signs: what is on disk, or the last that was good, and what is told of it."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.failures import AccessDenied
from rolesanywhere_sidecar.identities.identity import (
    CertificateExpired,
    Identity,
    InvalidIdentity,
    assemble,
)
from rolesanywhere_sidecar.identities.identity_files import UnreadableFile
from rolesanywhere_sidecar.identities.keys import SigningKey, open_key
from rolesanywhere_sidecar.service import rolesanywhere
from rolesanywhere_sidecar.service.rolesanywhere import RolesAnywhere
from rolesanywhere_sidecar.service.sessions import Reply
from rolesanywhere_sidecar.signing import SignedRequest
from tests.fakes import pki
from tests.fakes.pki import LEAF, Authority
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN
from tests.support.sessions import some_credentials

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


# An identity that passes here and is refused there

REFUSED = Reply(403, {"x-amzn-errortype": "AccessDeniedException"}, b'{"message":"Untrusted"}')


def granted(at: datetime, *, life: timedelta = timedelta(hours=1)) -> Reply:
    credentials = {
        "accessKeyId": "ASIAEXAMPLE",
        "secretAccessKey": "s" * 40,
        "sessionToken": "t" * 40,
        "expiration": f"{at + life:%Y-%m-%dT%H:%M:%SZ}",
    }
    return Reply(201, {}, json.dumps({"credentialSet": [{"credentials": credentials}]}).encode())


class Choosy(Wire):
    """Takes requests by ``accepted`` identities alone."""

    def __init__(self, clock: Clock, *accepted: pki.Identity) -> None:
        super().__init__()
        self.clock = clock
        self.accepted = {one.certificate.serial_number for one in accepted}

    async def post(self, request: SignedRequest) -> Reply:
        await super().post(request)
        accepted = self.serials[-1] in self.accepted
        return granted(self.clock.time) if accepted else REFUSED


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def choosy(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Choosy:
    """A service that knows nothing of the next certificate's authority."""
    found = Choosy(clock, GOOD)
    monkeypatch.setattr(rolesanywhere, "Transport", lambda *_, **__: found)
    return found


GOOD_SERIAL, NEXT_SERIAL = GOOD.certificate.serial_number, NEXT.certificate.serial_number


async def test_a_refused_identity_takes_nothing_from_the_one_before_it(
    choosy: Choosy, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(GOOD)
    async with a_client(disk, clock) as client:
        await client.create_session()
        disk.held = NEXT
        clock.time += timedelta(minutes=31)
        credentials = await client.create_session()
        assert credentials.expires == clock.time + timedelta(hours=1)
        assert client.unsettled
        assert "Untrusted" in str(client.last_problem)
        assert client.accepted is not None
        assert client.accepted.leaf == GOOD.certificate
    assert choosy.serials == [GOOD_SERIAL, NEXT_SERIAL, GOOD_SERIAL]
    [record] = [kept for kept in caplog.records if kept.msg == "earlier identity kept"]
    assert record.levelno == logging.WARNING
    assert "Untrusted" in vars(record)["problem"]


async def test_while_the_session_is_young_a_refusal_is_just_that(
    choosy: Choosy, clock: Clock
) -> None:
    """So that the slow attempts at the new identity cost one request each."""
    disk = Disk(GOOD)
    async with a_client(disk, clock) as client:
        await client.create_session()
        disk.held = NEXT
        clock.time += timedelta(minutes=29)
        await ask(client)
    assert choosy.serials == [GOOD_SERIAL, NEXT_SERIAL]


async def test_a_refused_identity_is_used_as_soon_as_it_is_accepted(
    choosy: Choosy, clock: Clock
) -> None:
    disk = Disk(GOOD)
    async with a_client(disk, clock) as client:
        await client.create_session()
        disk.held = NEXT
        clock.time += timedelta(minutes=31)
        await client.create_session()
        choosy.accepted = {NEXT_SERIAL}
        await client.create_session()
        assert not client.unsettled
        assert client.last_problem is None
    assert choosy.serials[2:] == [GOOD_SERIAL, NEXT_SERIAL]


async def test_where_both_are_refused_the_new_ones_refusal_is_told(
    choosy: Choosy, clock: Clock
) -> None:
    disk = Disk(GOOD)
    async with a_client(disk, clock) as client:
        await client.create_session()
        disk.held, choosy.accepted = NEXT, set()
        clock.time += timedelta(hours=2)
        await ask(client)
        assert not client.unsettled
    assert choosy.serials == [GOOD_SERIAL, NEXT_SERIAL, GOOD_SERIAL]


async def test_an_earlier_identity_that_has_expired_does_not_stand_in(
    choosy: Choosy, clock: Clock
) -> None:
    lasting = ROOT.leaf("lasting", at=NOW, template=replace(LEAF, lives=timedelta(days=90)))
    disk = Disk(GOOD)
    async with a_client(disk, clock) as client:
        await client.create_session()
        disk.held = lasting
        clock.time = GOOD.certificate.not_valid_after_utc
        await ask(client)
    assert choosy.serials == [GOOD_SERIAL, lasting.certificate.serial_number]


async def test_a_session_kept_by_an_earlier_process_vouches_for_its_identity(
    choosy: Choosy, clock: Clock
) -> None:
    disk = Disk(GOOD)
    kept = some_credentials(issued=NOW)
    async with a_client(disk, clock) as client:
        await client.load_identity()
        client.resume(kept)
        disk.held = NEXT
        await ask(client)
        clock.time += timedelta(minutes=31)
        await client.create_session()
    assert choosy.serials == [NEXT_SERIAL, NEXT_SERIAL, GOOD_SERIAL]


async def test_each_requests_time_is_measured(choosy: Choosy, clock: Clock) -> None:
    measured: list[timedelta] = []
    client = RolesAnywhere(SETTINGS, Disk(GOOD), now=clock.now, env={}, measure=measured.append)
    await client.create_session()
    assert measured == [timedelta()]
