"""The session file as ``serve`` uses it: what is kept, what is adopted, what is only a warning."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar import running
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.identities.identity import Identity
from rolesanywhere_sidecar.identities.pkcs11.errors import (
    NoSuchToken,
    PinIncorrect,
    PinUnanswered,
    TokenSilent,
)
from rolesanywhere_sidecar.renewal import keeping as keeping_module
from rolesanywhere_sidecar.renewal.keeping import Keeping, resume
from rolesanywhere_sidecar.renewal.sessionfile import SessionFile
from rolesanywhere_sidecar.serving import listeners
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

    async def load_identity(self) -> Identity:
        if isinstance(self.on_disk, RolesAnywhereError):
            raise self.on_disk
        return self.on_disk

    def resume(self, kept: Credentials) -> None:
        self.resumed.append(kept)


@pytest.fixture
def file(tmp_path: Path) -> SessionFile:
    return SessionFile(tmp_path / "session", "a binding")


async def kept(keeping: Keeping, number: int = 1) -> Credentials:
    """Which are, unless something is wrong."""
    made = some_credentials(number)
    await keeping.keep(made)
    return made


async def adopted(file: SessionFile | None, service: Service) -> Credentials | None:
    return await resume(file, service, now=lambda: START)


async def test_what_one_process_keeps_the_next_adopts(file: SessionFile) -> None:
    made = await kept(Keeping(Service(), file))
    service = Service()
    assert await adopted(file, service) == made
    assert service.resumed == [made]


async def test_the_latest_session_is_the_one_that_is_kept(file: SessionFile) -> None:
    keeping = Keeping(Service(), file)
    for number in (1, 2, 3):
        made = await kept(keeping, number)
    assert await adopted(file, Service()) == made


async def test_a_session_of_another_certificate_is_not_adopted(file: SessionFile) -> None:
    await kept(Keeping(Service(), file))
    service = Service(OTHER)
    assert await adopted(file, service) is None
    assert not service.resumed


async def test_a_session_is_kept_for_the_certificate_that_made_it(file: SessionFile) -> None:
    """Which is not the one on disk where that was refused."""
    stood_in = Service(OURS)
    stood_in.accepted = OTHER
    await kept(Keeping(stood_in, file))
    assert await adopted(file, Service(OURS)) is None
    assert await adopted(file, Service(OTHER)) is not None


async def test_an_identity_that_cannot_be_read_adopts_nothing(file: SessionFile) -> None:
    await kept(Keeping(Service(), file))
    assert await adopted(file, Service(RolesAnywhereError("gone"))) is None


@pytest.mark.parametrize(
    ("place", "problem", "adopts"),
    [
        ("a token's", NoSuchToken("away"), True),
        ("a token's", TokenSilent("frozen"), True),
        ("a token's", PinUnanswered("frozen at two logins"), True),
        ("a token's", PinIncorrect("wrong"), False),
        ("another's", NoSuchToken("away"), False),
        ("", NoSuchToken("away"), False),
    ],
)
async def test_of_a_token_that_is_away_the_same_place_is_enough(
    file: SessionFile, place: str, problem: RolesAnywhereError, adopts: bool
) -> None:
    in_a_token = replace(file, place="a token's")
    made = await kept(Keeping(Service(), in_a_token))
    service = Service(problem)
    found = await adopted(replace(file, place=place), service)
    assert found == (made if adopts else None)
    assert await adopted(in_a_token, Service(OTHER)) is None, "it is back, and holds another"


async def test_a_volume_that_hangs_keeps_nobody_waiting(
    file: SessionFile, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    class Hanging(Service):
        async def load_identity(self) -> Identity:
            await asyncio.sleep(60)
            return OURS

    assert await resume(file, Hanging(), now=lambda: START, patience=0.01) is None
    assert told(caplog) == ["the identity cannot be read within 0.01 seconds"]


async def test_a_token_that_hangs_is_away(file: SessionFile) -> None:
    class Hanging(Service):
        async def load_identity(self) -> Identity:
            await asyncio.sleep(60)
            return OURS

    in_a_token = replace(file, place="a token's")
    made = await kept(Keeping(Service(), in_a_token))
    assert await resume(in_a_token, Hanging(), now=lambda: START, patience=0.05) == made


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Why nothing was adopted, as the log has it."""
    records = [one for one in caplog.records if one.message == "no session adopted"]
    assert {one.levelno for one in records} <= {logging.INFO}
    return [vars(one)["reason"] for one in records]


async def test_why_nothing_was_adopted_is_one_line_without_secrets(
    file: SessionFile, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert await adopted(file, Service()) is None
    made = await kept(Keeping(Service(), file))
    for service in (Service(OTHER), Service(PinIncorrect("the PIN is wrong"))):
        assert await adopted(file, service) is None
    assert told(caplog) == [
        f"there is no session file {file.path}",
        f"the session in {file.path} was made with another certificate",
        "whose it would be is not known: the PIN is wrong",
    ]
    caplog.clear()
    assert await adopted(file, Service()) == made
    assert told(caplog) == []
    assert made.secret_access_key not in caplog.text


class Hanging(SessionFile):
    """Nothing comes of a write until ``released``."""

    released = threading.Event()
    begun = 0

    def write(self, credentials: Credentials, leaf: bytes) -> None:
        type(self).begun += 1
        assert self.released.wait(10)
        super().write(credentials, leaf)


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Hanging]:
    Hanging.released, Hanging.begun = threading.Event(), 0
    yield Hanging(tmp_path / "session", "a binding")
    Hanging.released.set()


async def test_a_volume_that_hangs_takes_one_thread_however_often_it_is_written(
    hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    keeping = Keeping(Service(), hanging, patience=0.01)
    for number in range(20):
        await kept(keeping, number)
    assert Hanging.begun == 1
    async with asyncio.timeout(5):
        assert await asyncio.to_thread(lambda: "still served") == "still served"
    [record] = [one for one in caplog.records if one.message == "session not kept"]
    assert "takes more than 0.01 seconds" in vars(record)["problem"]


async def test_a_volume_that_hung_keeps_sessions_again(hanging: Hanging) -> None:
    keeping = Keeping(Service(), hanging, patience=0.01)
    await kept(keeping, 1)
    Hanging.released.set()
    await keeping.close()
    made = await kept(keeping, 2)
    await keeping.close()
    assert await adopted(hanging, Service()) == made


async def test_a_session_that_is_being_written_is_finished_before_the_end(
    hanging: Hanging,
) -> None:
    keeping = Keeping(Service(), hanging)
    writing = asyncio.create_task(kept(keeping))
    while not Hanging.begun:  # noqa: ASYNC110 - a thread sets no event of ours
        await asyncio.sleep(0)
    writing.cancel()
    ending = asyncio.create_task(keeping.close())
    await asyncio.sleep(0.01)
    assert not ending.done()
    Hanging.released.set()
    await ending
    assert await adopted(hanging, Service()) is not None


def test_the_end_has_time_for_it() -> None:
    """After the listeners, which close together, and before the end by force."""
    taken = listeners.DRAIN_SECONDS + keeping_module.CLOSING_SECONDS
    assert taken <= running.LAST_RESORT_SECONDS - 0.5


async def test_a_fault_that_nobody_foresaw_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(SessionFile):
        def write(self, credentials: Credentials, leaf: bytes) -> None:
            raise RuntimeError(credentials.secret_access_key)

    await kept(Keeping(Service(), Broken(tmp_path / "session", "a binding")))
    [record] = [one for one in caplog.records if one.message == "session not kept"]
    assert "an unforeseen RuntimeError" in vars(record)["problem"]
    assert some_credentials(1).secret_access_key not in caplog.text


async def test_without_a_session_file_nothing_is_kept_and_nothing_adopted() -> None:
    await kept(Keeping(Service(), None))
    assert await adopted(None, Service()) is None


async def test_a_file_that_cannot_be_written_is_told_once_and_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeping = Keeping(Service(), SessionFile(tmp_path / "no" / "session", "a binding"))
    for number in (1, 2, 3):
        await kept(keeping, number)
    [record] = [one for one in caplog.records if one.message == "session not kept"]
    assert record.levelno == logging.WARNING
