"""A PIN that a token has refused is not tried again, whatever is restarted in between."""

import hashlib
import json
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar import locks
from rolesanywhere_sidecar.identities.pkcs11 import latch as latching
from rolesanywhere_sidecar.identities.pkcs11 import verdicts
from rolesanywhere_sidecar.identities.pkcs11.errors import (
    PinIncorrect,
    PinLatchUnusable,
    PinLocked,
    PinProblem,
    PinUnanswered,
)
from rolesanywhere_sidecar.identities.pkcs11.latch import PinLatch, slow_digest
from rolesanywhere_sidecar.identities.pkcs11.latchfile import LatchFile
from rolesanywhere_sidecar.identities.pkcs11.pins import Pin
from rolesanywhere_sidecar.identities.pkcs11.verdicts import MEMORY, Record
from tests.support.clocks import START

TOKEN = "pkcs11:token=node-hsm;serial=1"
RIGHT, WRONG = Pin("right-9021", "the file /pin"), Pin("wrong-4711", "the file /pin")


def cheap_digest(pin: str, salt: bytes) -> str:
    """As good as the real one, for who has no PIN to hide."""
    return hashlib.sha256(salt + pin.encode()).hexdigest()


class Killed(BaseException):
    """The process ends in the middle."""


class Hsm:
    """A token that counts, asked by processes that come and go."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.now = START
        self.tries: list[str] = []
        self.latch = self.fresh()

    def fresh(self) -> PinLatch:
        file = LatchFile(self.path, required=True)
        return PinLatch(file, now=lambda: self.now, digest=cheap_digest)

    def restart(self) -> None:
        self.latch = self.fresh()

    def log_in(self, pin: Pin, *, token: str = TOKEN, says: str = "", dies: bool = False) -> None:
        with self.latch.trying(token, pin) as trial:
            self.tries.append(pin.text)
            if dies:
                raise Killed
            if says or pin is WRONG:
                trial.refused(says or "PinIncorrect")
                raise PinIncorrect("refused")
            trial.accepted()


@pytest.fixture
def hsm(tmp_path: Path) -> Hsm:
    return Hsm(tmp_path / "latch")


def fail(hsm: Hsm, pin: Pin, **how: str) -> PinProblem:
    with pytest.raises(PinProblem) as caught:
        hsm.log_in(pin, **how)  # type: ignore[arg-type]  # texts alone
    return caught.value


def test_a_wrong_pin_is_tried_once_in_twenty_restarts(hsm: Hsm) -> None:
    for _ in range(20):
        told = fail(hsm, WRONG)
        hsm.restart()
        hsm.now += timedelta(days=1)
    assert hsm.tries == [WRONG.text]
    assert isinstance(told, PinIncorrect)
    assert f"refused the PIN of the file /pin at {START:%Y-%m-%d %H:%M:%SZ}" in str(told)
    assert f"remove {hsm.path}" in str(told)


def test_another_pin_is_tried_at_once_and_another_token_is_another_matter(hsm: Hsm) -> None:
    fail(hsm, WRONG)
    hsm.log_in(RIGHT)
    fail(hsm, WRONG, token="pkcs11:token=other")
    assert hsm.tries == [WRONG.text, RIGHT.text, WRONG.text]


def test_going_back_to_a_pin_that_was_refused_is_no_new_pin(hsm: Hsm) -> None:
    fail(hsm, WRONG)
    hsm.log_in(RIGHT)
    hsm.restart()
    fail(hsm, WRONG)
    assert hsm.tries == [WRONG.text, RIGHT.text]


def test_of_a_pin_that_works_nothing_stays_on_disk(hsm: Hsm) -> None:
    hsm.log_in(RIGHT)
    assert hsm.path is not None
    assert json.loads(hsm.path.read_text())["records"] == []


def test_a_try_is_on_disk_before_it_is_made(hsm: Hsm) -> None:
    assert hsm.path is not None
    with hsm.latch.trying(TOKEN, WRONG):
        [record] = json.loads(hsm.path.read_text())["records"]
    assert record["verdict"] == "unanswered"


def test_the_file_is_for_our_user_alone_and_shows_no_pin(hsm: Hsm) -> None:
    fail(hsm, WRONG)
    assert hsm.path is not None
    assert stat.S_IMODE(hsm.path.stat().st_mode) == 0o600
    assert WRONG.text not in hsm.path.read_text()


def test_the_digest_is_salted_and_what_older_files_have(tmp_path: Path) -> None:
    """Another, and every PIN that was refused would be tried once more."""
    file = LatchFile(tmp_path / "latch", required=True)
    with PinLatch(file).trying(TOKEN, WRONG) as trial:
        trial.refused("PinIncorrect")
    [record] = json.loads((tmp_path / "latch").read_text())["records"]
    assert record["digest"] == slow_digest(WRONG.text, file.salt)
    assert slow_digest(WRONG.text, b"salt") == (
        "27d513c43d0b14de5f280ce2468f495316b59c3d504999fe896be099af4f157b"
    )


def test_one_pin_has_another_digest_in_another_file(tmp_path: Path) -> None:
    digests = set()
    for name in ("one", "two"):
        fail(Hsm(tmp_path / name), WRONG)
        digests.add(json.loads((tmp_path / name).read_text())["records"][0]["digest"])
    assert len(digests) == 2


def test_a_crash_in_the_middle_of_a_login_costs_two_tries_in_half_an_hour(hsm: Hsm) -> None:
    for _ in range(10):
        with suppress(Killed, PinUnanswered):
            hsm.log_in(WRONG, dies=True)
        hsm.restart()
        hsm.now += timedelta(minutes=1)
    assert len(hsm.tries) == 2
    assert "did not say in 2 logins whether it takes the PIN" in str(fail(hsm, WRONG))
    hsm.now += MEMORY
    fail(hsm, WRONG)
    assert len(hsm.tries) == 3


def test_a_module_that_crashes_at_each_login_locks_no_tpm_in_a_day() -> None:
    """Three failures lock it, and one is forgiven in 1,000 seconds; it does not tell of any."""
    known: Record | None = None
    failures = tries = 0
    forgiven_at = START
    for minute in range(24 * 60):
        now = START + timedelta(minutes=minute)
        if now - forgiven_at >= timedelta(seconds=1000):
            failures, forgiven_at = max(0, failures - 1), now
        if known is None or not known.holds(now):
            known = verdicts.begun(known, TOKEN, "digest", at=now)
            failures, tries = failures + 1, tries + 1
        assert failures < 3, now
    assert tries > 24, "but a PIN that is right has its chances"


def test_a_right_pin_is_not_locked_out_for_ever_by_a_crash(hsm: Hsm) -> None:
    for _ in range(3):
        with suppress(Killed, PinUnanswered):
            hsm.log_in(RIGHT, dies=True)
        hsm.restart()
    hsm.now += MEMORY
    hsm.log_in(RIGHT)
    assert hsm.path is not None
    assert json.loads(hsm.path.read_text())["records"] == []


def test_a_pin_that_worked_in_this_process_is_given_again_without_end(hsm: Hsm) -> None:
    hsm.log_in(RIGHT)
    for _ in range(10):
        with suppress(Killed):
            hsm.log_in(RIGHT, dies=True)
        hsm.log_in(RIGHT)
    assert len(hsm.tries) == 21


def test_a_pin_that_worked_until_somebody_changed_it_is_refused_once(hsm: Hsm) -> None:
    hsm.log_in(RIGHT)
    fail(hsm, RIGHT, says="PinIncorrect")
    fail(hsm, RIGHT)
    hsm.restart()
    fail(hsm, RIGHT)
    assert len(hsm.tries) == 2


@pytest.mark.parametrize("says", ["PinLocked", "PinExpired", "UserPinNotInitialized"])
def test_what_somebody_may_mend_without_a_new_pin_is_asked_again_later(hsm: Hsm, says: str) -> None:
    fail(hsm, RIGHT, says=says)
    told = fail(hsm, RIGHT)
    assert "not asked again for 30 minutes" in str(told)
    assert len(hsm.tries) == 1
    hsm.now += MEMORY
    hsm.log_in(RIGHT)


def test_a_token_that_fails_otherwise_has_said_nothing_of_the_pin(hsm: Hsm) -> None:
    for _ in range(5):
        with hsm.latch.trying(TOKEN, RIGHT) as trial:
            trial.unjudged()
        hsm.restart()
    hsm.log_in(RIGHT)


def test_a_failure_does_not_wipe_out_what_was_known(hsm: Hsm) -> None:
    with suppress(Killed):
        hsm.log_in(RIGHT, dies=True)
    with hsm.latch.trying(TOKEN, RIGHT) as trial:
        trial.unjudged()
    with suppress(Killed):
        hsm.log_in(RIGHT, dies=True)
    fail(hsm, RIGHT)
    assert len(hsm.tries) == 2


def test_a_clock_that_was_set_back_frees_nothing_and_forbids_nothing_for_long(hsm: Hsm) -> None:
    fail(hsm, RIGHT, says="PinLocked")
    hsm.now -= timedelta(days=400)
    assert isinstance(fail(hsm, RIGHT), PinLocked)
    hsm.now += MEMORY
    hsm.log_in(RIGHT)


def test_who_tries_at_the_same_time_waits_and_learns_from_it(
    hsm: Hsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latching, "LOCK_SECONDS", 0.05)
    other = hsm.fresh()
    with hsm.latch.trying(TOKEN, WRONG) as trial:
        with pytest.raises(locks.LockBusy), other.trying(TOKEN, WRONG):
            pytest.fail("both try")
        trial.refused("PinIncorrect")
    with pytest.raises(PinIncorrect), other.trying(TOKEN, WRONG):
        pytest.fail("tried although refused")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": 2}', b'{"version":1,"salt":"zz","records":[]}',
                b'{"version":1,"salt":"00","records":[{"at":"now"}]}'],
)  # fmt: skip
def test_a_file_that_is_none_of_ours_by_its_content_is_begun_anew(hsm: Hsm, content: bytes) -> None:
    assert hsm.path is not None
    hsm.path.write_bytes(content)
    hsm.path.chmod(0o600)
    fail(hsm, WRONG)
    hsm.restart()
    fail(hsm, WRONG)
    assert hsm.tries == [WRONG.text]


def test_a_file_that_others_may_write_is_not_believed_and_no_pin_is_tried(hsm: Hsm) -> None:
    fail(hsm, WRONG)
    assert hsm.path is not None
    hsm.path.chmod(0o666)
    hsm.restart()
    with pytest.raises(PinLatchUnusable, match="so no PIN is tried"):
        hsm.log_in(RIGHT)
    assert hsm.tries == [WRONG.text]


def unusable(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "file").write_text("")
    yield tmp_path / "file" / "latch"
    (tmp_path / "folder").mkdir()
    yield tmp_path / "folder"
    yield Path("/proc/latch")
    yield tmp_path / "null\0"


def test_a_file_that_cannot_be_written_is_an_error_where_it_was_asked_for(tmp_path: Path) -> None:
    for path in unusable(tmp_path):
        hsm = Hsm(path)
        with pytest.raises(RolesAnywhereError) as caught:
            hsm.log_in(RIGHT)
        assert caught.value.code == "PinLatchUnusable", path
        assert hsm.tries == [], path


def test_where_nobody_asked_for_it_memory_must_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    hsm = Hsm(None)
    hsm.latch = PinLatch.at(tmp_path / "file" / "latch", required=False)
    for _ in range(3):
        fail(hsm, WRONG)
    assert hsm.tries == [WRONG.text]
    assert [each.message for each in caplog.records] == ["PINs remembered in memory alone"]


def test_old_records_make_room(hsm: Hsm) -> None:
    for number in range(18):
        fail(hsm, WRONG, token=f"pkcs11:token=t{number}")
    assert hsm.path is not None
    assert len(json.loads(hsm.path.read_text())["records"]) == 16


def test_times_are_kept_with_their_zone(hsm: Hsm) -> None:
    fail(hsm, WRONG)
    assert hsm.path is not None
    [record] = json.loads(hsm.path.read_text())["records"]
    assert datetime.fromisoformat(record["at"]) == START
