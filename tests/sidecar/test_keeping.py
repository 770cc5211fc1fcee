"""The session file as ``serve`` uses it: what is kept, what is adopted, what is only a warning."""

import asyncio
import logging
import time
from pathlib import Path

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.identities.identity import Identity
from rolesanywhere_sidecar.renewal.keeping import Keeping, resume
from rolesanywhere_sidecar.renewal.sessionfile import SessionFile
from tests.sidecar.test_metrics import an_identity
from tests.support.clocks import START
from tests.support.sessions import some_credentials

OURS, OTHER = an_identity(hours=30), an_identity(hours=30)


class Service:
    """Signs with ``on_disk``; ``accepted`` is what a session was made with."""

    def __init__(self, on_disk: Identity | RolesAnywhereError = OURS) -> None:
        self.on_disk = on_disk
        self.accepted: Identity | None = OURS
        self.resumed: list[Credentials] = []
        self.made = 0

    async def create_session(self) -> Credentials:
        self.made += 1
        return some_credentials(self.made)

    async def load_identity(self) -> Identity:
        if isinstance(self.on_disk, RolesAnywhereError):
            raise self.on_disk
        return self.on_disk

    def resume(self, kept: Credentials) -> None:
        self.resumed.append(kept)


@pytest.fixture
def file(tmp_path: Path) -> SessionFile:
    return SessionFile(tmp_path / "session", "a binding")


async def adopted(file: SessionFile | None, service: Service) -> Credentials | None:
    return await resume(file, service, now=lambda: START)


async def test_what_one_process_keeps_the_next_adopts(file: SessionFile) -> None:
    made = await Keeping(Service(), file).create_session()
    service = Service()
    assert await adopted(file, service) == made
    assert service.resumed == [made]


async def test_the_latest_session_is_the_one_that_is_kept(file: SessionFile) -> None:
    keeping = Keeping(Service(), file)
    for _ in range(3):
        made = await keeping.create_session()
    assert await adopted(file, Service()) == made


async def test_a_session_of_another_certificate_is_not_adopted(file: SessionFile) -> None:
    await Keeping(Service(), file).create_session()
    service = Service(OTHER)
    assert await adopted(file, service) is None
    assert not service.resumed


async def test_a_session_is_kept_for_the_certificate_that_made_it(file: SessionFile) -> None:
    """Which is not the one on disk where that was refused."""
    stood_in = Service(OURS)
    stood_in.accepted = OTHER
    await Keeping(stood_in, file).create_session()
    assert await adopted(file, Service(OURS)) is None
    assert await adopted(file, Service(OTHER)) is not None


async def test_an_identity_that_cannot_be_read_adopts_nothing(file: SessionFile) -> None:
    await Keeping(Service(), file).create_session()
    assert await adopted(file, Service(RolesAnywhereError("gone"))) is None


async def test_a_volume_that_hangs_keeps_nobody_waiting(file: SessionFile) -> None:
    class Hanging(Service):
        async def load_identity(self) -> Identity:
            await asyncio.sleep(60)
            return OURS

    assert await resume(file, Hanging(), now=lambda: START, patience=0.01) is None


async def test_a_volume_that_hangs_costs_no_session(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Hanging(SessionFile):
        def write(self, credentials: Credentials, leaf: bytes) -> None:
            time.sleep(0.3)

    keeping = Keeping(Service(), Hanging(tmp_path / "session", "a binding"), patience=0.01)
    assert await keeping.create_session() == some_credentials(1)
    [record] = [one for one in caplog.records if one.message == "session not kept"]
    assert "takes more than 0.01 seconds" in vars(record)["problem"]


async def test_without_a_session_file_nothing_is_kept_and_nothing_adopted() -> None:
    service = Service()
    assert await Keeping(service, None).create_session() == some_credentials(1)
    assert await adopted(None, service) is None


async def test_a_file_that_cannot_be_written_is_told_once_and_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeping = Keeping(Service(), SessionFile(tmp_path / "no" / "session", "a binding"))
    for number in (1, 2, 3):
        assert await keeping.create_session() == some_credentials(number)
    [record] = [one for one in caplog.records if one.message == "session not kept"]
    assert record.levelno == logging.WARNING
