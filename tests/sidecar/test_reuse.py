"""Many processes, one session: when it is reused, and what happens when the file fails them."""

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar import locks
from rolesanywhere_sidecar.commands.failurenote import FailureNote
from rolesanywhere_sidecar.commands.reuse import (
    is_enough,
    session_for_all,
    session_while_away,
)
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.failures import AccessDenied, ServiceUnavailable, Throttled
from rolesanywhere_sidecar.identities.pkcs11.errors import NoSuchToken, PinIncorrect
from rolesanywhere_sidecar.locks import LockBusy
from rolesanywhere_sidecar.renewal.sessionfile import SessionFile
from tests.support.clocks import START
from tests.support.sessions import some_credentials

LEAF = b"\x01" * 32


class Maker:
    """Makes sessions for `LEAF`, or fails; counts."""

    def __init__(self, problem: RolesAnywhereError | None = None) -> None:
        self.made = 0
        self.problem = problem
        self.now = START

    async def make(self) -> tuple[Credentials, bytes]:
        self.made += 1
        await asyncio.sleep(0.01)
        if self.problem:
            raise self.problem
        return some_credentials(self.made, issued=self.now), LEAF

    async def ask(self, file: SessionFile, *, patience: float = 5) -> Credentials:
        return await session_for_all(
            file, LEAF, make=self.make, now=lambda: self.now, patience=patience
        )


@pytest.fixture
def file(tmp_path: Path) -> SessionFile:
    return SessionFile(tmp_path / "session", "binding")


@pytest.mark.parametrize(
    ("life", "left", "enough"),
    [
        (3600, 901, True),
        (3600, 900, False),
        (43_200, 901, True),
        (900, 900, True),
        (900, 451, True),
        (900, 450, False),
        (3600, -1, False),
    ],
)
def test_a_session_is_reused_until_sdks_would_ask_again(life: int, left: int, enough: bool) -> None:
    kept = some_credentials(life=life)
    at = kept.expires - timedelta(seconds=left)
    assert is_enough(kept, at=at) is enough


async def test_those_who_ask_at_once_get_one_session(file: SessionFile) -> None:
    maker = Maker()
    got = await asyncio.gather(*(maker.ask(file) for _ in range(10)))
    assert maker.made == 1
    assert {one.access_key_id for one in got} == {"ASIAEXAMPLE000000001"}


async def test_a_session_with_too_little_life_is_replaced(file: SessionFile) -> None:
    maker = Maker()
    await maker.ask(file)
    maker.now += timedelta(minutes=46)
    fresh = await maker.ask(file)
    assert maker.made == 2
    assert file.read(maker.now, LEAF) == fresh


async def test_a_failed_renewal_hands_out_what_is_still_valid(
    file: SessionFile, caplog: pytest.LogCaptureFixture
) -> None:
    maker = Maker()
    first = await maker.ask(file)
    maker.problem = ServiceUnavailable("down")
    maker.now += timedelta(minutes=59)
    assert await maker.ask(file) == first
    assert caplog.messages == ["earlier session used"]
    maker.now += timedelta(minutes=2)
    with pytest.raises(ServiceUnavailable):
        await maker.ask(file)


async def test_of_a_token_that_is_away_the_kept_session_of_the_same_place_is_handed_out(
    file: SessionFile, caplog: pytest.LogCaptureFixture
) -> None:
    ours, now = replace(file, place="a token's"), START
    kept = some_credentials()
    ours.write(kept, LEAF)

    async def ask(file: SessionFile, problem: RolesAnywhereError) -> Credentials:
        return await session_while_away(file, problem, now=lambda: now)

    assert await ask(ours, NoSuchToken("away")) == kept
    assert caplog.messages == ["earlier session used"]
    for other, problem in (
        (ours, PinIncorrect("wrong")),
        (replace(ours, place="another's"), NoSuchToken("away")),
        (replace(ours, place=""), NoSuchToken("away")),
    ):
        with pytest.raises(type(problem)):
            await ask(other, problem)
    now = kept.expires
    with pytest.raises(NoSuchToken):
        await ask(ours, NoSuchToken("away"))


async def test_what_expires_while_we_try_is_not_handed_out(file: SessionFile) -> None:
    maker = Maker()
    await maker.ask(file)
    maker.now += timedelta(minutes=59, seconds=59)

    async def slow_failure() -> tuple[Credentials, bytes]:
        maker.now += timedelta(seconds=2)
        raise ServiceUnavailable("down")

    with pytest.raises(ServiceUnavailable):
        await session_for_all(file, LEAF, make=slow_failure, now=lambda: maker.now)


async def test_a_session_is_kept_for_the_certificate_that_made_it(file: SessionFile) -> None:
    """The certificate may rotate between our look at it and the request."""
    rotated = b"\x02" * 32

    async def make() -> tuple[Credentials, bytes]:
        return some_credentials(), rotated

    await session_for_all(file, LEAF, make=make, now=lambda: START)
    assert file.read(START, LEAF) is None
    assert file.read(START, rotated) is not None


async def test_garbage_is_replaced_and_told(
    file: SessionFile, caplog: pytest.LogCaptureFixture
) -> None:
    file.path.write_text("{")
    file.path.chmod(0o600)
    await Maker().ask(file)
    [record] = caplog.records
    assert vars(record)["problem"] == f"the session file {file.path} holds no session"
    assert file.read(START, LEAF) is not None


async def test_a_session_for_another_is_replaced_without_a_word(
    file: SessionFile, caplog: pytest.LogCaptureFixture
) -> None:
    SessionFile(file.path, "another").write(some_credentials(), LEAF)
    file.write(some_credentials(), b"\x02" * 32)
    await Maker().ask(file)
    assert caplog.messages == []


async def test_a_folder_that_is_missing_costs_a_session_and_no_answer(
    file: SessionFile, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = SessionFile(file.path / "none" / "session", "binding")
    assert (await Maker().ask(nowhere)).access_key_id
    assert caplog.messages == ["session made without the lock", "session not kept"]


async def test_while_the_lock_is_held_nobody_asks_beside_its_holder(file: SessionFile) -> None:
    maker = Maker()
    async with locks.held(locks.beside(file.path), within=1):
        with pytest.raises(LockBusy):
            await maker.ask(file, patience=0.1)
    assert maker.made == 0


async def test_then_what_is_still_valid_is_handed_out(file: SessionFile) -> None:
    maker = Maker()
    first = await maker.ask(file)
    maker.now += timedelta(minutes=50)
    async with locks.held(locks.beside(file.path), within=1):
        assert await maker.ask(file, patience=0.1) == first
    assert maker.made == 1


async def test_those_who_wait_fail_with_the_one_that_asked(file: SessionFile) -> None:
    maker = Maker(Throttled("too many"))
    failed = await asyncio.gather(*(maker.ask(file) for _ in range(30)), return_exceptions=True)
    assert {type(each) for each in failed} == {Throttled}
    assert maker.made == 1
    maker.problem = None
    maker.now += timedelta(seconds=6)
    assert (await maker.ask(file)).access_key_id
    assert maker.made == 2


async def test_who_waited_longer_than_that_fails_too(file: SessionFile) -> None:
    note = FailureNote.beside(file)
    note.write(Throttled("hunter2"), at=START)
    later = START + timedelta(seconds=30)
    assert isinstance(note.read(waiting_since=START, at=later), Throttled)
    assert note.read(waiting_since=later, at=later) is None
    assert note.read(waiting_since=START, at=START - timedelta(hours=1)) is None
    assert FailureNote(note.path, "other").read(waiting_since=START, at=START) is None
    assert "hunter2" not in note.path.read_text()


async def test_a_refusal_is_each_ones_own(file: SessionFile) -> None:
    maker = Maker(AccessDenied("no"))
    await asyncio.gather(*(maker.ask(file) for _ in range(3)), return_exceptions=True)
    assert maker.made == 3


@pytest.mark.parametrize(
    "content", ["{", "[]", "1", '{"at": 1, "code": "x"}', '{"at": "2026-01-01"}']
)
async def test_a_note_that_is_garbage_is_none(file: SessionFile, content: str) -> None:
    note = FailureNote.beside(file)
    note.path.write_text(content)
    note.path.chmod(0o600)
    assert note.read(waiting_since=START, at=START) is None


async def test_a_good_session_is_read_without_the_lock(file: SessionFile) -> None:
    maker = Maker()
    await maker.ask(file)
    async with locks.held(locks.beside(file.path), within=1):
        await maker.ask(file, patience=0)
    assert maker.made == 1


async def test_a_clock_that_was_set_back_makes_a_new_session(file: SessionFile) -> None:
    maker = Maker()
    await maker.ask(file)
    maker.now = datetime.fromisoformat("2026-02-01T00:00:00+00:00")
    await maker.ask(file)
    assert maker.made == 2
    assert json.loads(file.path.read_text())["credentials"]["issued"].startswith("2026-02-01")
