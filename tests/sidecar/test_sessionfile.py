"""A session survives in its file for whoever it was made for, and for nobody else."""

import errno
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import files
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.renewal.sessionfile import (
    SessionFile,
    SessionFileUnusable,
    binding_of,
    place_of,
)
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN
from tests.support.clocks import START
from tests.support.sessions import SECRET_ACCESS_KEY, SESSION_TOKEN, some_credentials

LEAF = b"\x01" * 32
GOOD = some_credentials()
SETTINGS = Settings.from_env(
    {
        "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
        "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
        "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
        "ROLESANYWHERE_CERTIFICATE": "tls.crt",
    }
)


@pytest.fixture
def kept(tmp_path: Path) -> SessionFile:
    """A session file that holds `GOOD`."""
    made = SessionFile(tmp_path / "session", "binding")
    made.write(GOOD, LEAF)
    return made


def read(file: SessionFile, at: datetime = START, leaf: bytes = LEAF) -> Credentials | None:
    return file.read(at, leaf)


def rewrite(file: SessionFile, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(file.path.read_text())
    change(document)
    file.path.write_text(json.dumps(document))


def test_a_session_is_read_back_as_it_was(kept: SessionFile) -> None:
    assert read(kept) == GOOD


@given(st.datetimes(timezones=st.just(UTC)), st.integers(1, 43_200), st.text(min_size=1))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_session_is_read_back_as_it_was(
    tmp_path: Path, issued: datetime, life: int, secret: str
) -> None:
    if issued > datetime.max.replace(tzinfo=UTC) - timedelta(days=1):
        issued -= timedelta(days=1)
    one = replace(some_credentials(issued=issued, life=life), secret_access_key=secret)
    file = SessionFile(tmp_path / "session", "binding")
    file.write(one, LEAF)
    assert file.read(issued, LEAF) == one


def test_only_our_user_may_read_it(kept: SessionFile) -> None:
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600


def test_nothing_is_left_beside_it(kept: SessionFile) -> None:
    kept.write(GOOD, LEAF)
    assert list(kept.path.parent.iterdir()) == [kept.path]


def test_no_file_is_no_session(tmp_path: Path) -> None:
    assert read(SessionFile(tmp_path / "none", "binding")) is None
    assert read(SessionFile(tmp_path / "no" / "folder", "binding")) is None
    assert read(SessionFile(Path("\0"), "binding")) is None


def test_a_session_made_with_another_certificate_is_not_used(kept: SessionFile) -> None:
    assert read(kept, leaf=b"\x02" * 32) is None


def test_a_session_of_another_binding_is_not_used_and_is_replaced(kept: SessionFile) -> None:
    other = replace(kept, binding="another")
    assert read(other) is None
    theirs = some_credentials(2)
    other.write(theirs, LEAF)
    assert read(other) == theirs
    assert read(kept) is None


def test_a_session_that_is_over_is_not_used(kept: SessionFile) -> None:
    assert read(kept, GOOD.expires - timedelta(seconds=1)) == GOOD
    assert read(kept, GOOD.expires) is None


def test_a_session_from_the_future_is_not_used(kept: SessionFile) -> None:
    """The clock was set back: when the session ends cannot be told."""
    assert read(kept, START - timedelta(minutes=4)) == GOOD
    assert read(kept, START - timedelta(minutes=6)) is None


def test_a_later_format_is_not_guessed_at(kept: SessionFile) -> None:
    rewrite(kept, lambda document: document.update(version=2))
    assert read(kept) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secret_access_key", ""),
        ("secret_access_key", None),
        ("session_token", 7),
        ("account_id", ["1"]),
        ("expires", "2026-03-01T13:00:00"),
        ("expires", "soon"),
        ("expires", "9999-12-31T23:59:59-14:00"),
        ("issued", 0),
        ("unknown", "field"),
    ],
)
def test_a_damaged_session_is_none(kept: SessionFile, name: str, value: object) -> None:
    rewrite(kept, lambda document: document["credentials"].update({name: value}))
    assert read(kept) is None


@given(
    st.binary(max_size=400)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.just("credentials") | st.text(), inner),
    ).map(lambda value: json.dumps(value).encode())
)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_no_session_and_no_error(tmp_path: Path, content: bytes) -> None:
    file = SessionFile(tmp_path / "session", "binding")
    file.path.write_bytes(content)
    file.path.chmod(0o600)
    assert read(file) is None


def test_deep_garbage_is_no_error(kept: SessionFile) -> None:
    kept.path.write_bytes(b'{"credentials":' + b"[" * 60_000)
    assert read(kept) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_believed(kept: SessionFile, mode: int) -> None:
    kept.path.chmod(mode)
    assert read(kept) is None


def test_a_file_of_another_user_is_not_believed(
    kept: SessionFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: kept.path.stat().st_uid + 1)
    assert read(kept) is None


def test_a_link_is_not_followed_but_replaced(kept: SessionFile, tmp_path: Path) -> None:
    link = replace(kept, path=tmp_path / "link")
    link.path.symlink_to(kept.path)
    assert read(link) is None
    link.write(some_credentials(2), LEAF)
    assert not link.path.is_symlink()
    assert read(kept) == GOOD


def test_a_pipe_makes_nobody_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert read(SessionFile(tmp_path / "pipe", "binding")) is None


def test_a_folder_that_is_missing_is_told_in_a_sentence_without_the_secrets(tmp_path: Path) -> None:
    path = tmp_path / "none" / "session"
    with pytest.raises(SessionFileUnusable) as caught:
        SessionFile(path, "binding").write(GOOD, LEAF)
    assert str(caught.value) == (
        f"the session file {path} cannot be written: No such file or directory; name a file in a"
        " writable folder with --session-file, or leave it out"
    )
    assert SECRET_ACCESS_KEY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_full_disk_keeps_the_session_before(
    kept: SessionFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(SessionFileUnusable, match="No space left on device"):
        kept.write(some_credentials(2), LEAF)
    assert read(kept) == GOOD
    assert list(kept.path.parent.iterdir()) == [kept.path]


def test_a_session_that_is_too_large_to_be_one_does_not_fill_the_memory(kept: SessionFile) -> None:
    rewrite(kept, lambda document: document["credentials"].update(session_token="x" * 100_000))
    assert read(kept) is None
    assert len(files.read_own(kept.path, most=10) or b"") == 10


def test_nothing_of_the_secrets_is_in_its_repr(kept: SessionFile) -> None:
    assert SESSION_TOKEN not in repr(kept)


@pytest.mark.parametrize(
    "change",
    [
        {"ROLESANYWHERE_ROLE_ARN": f"{ROLE_ARN}-2"},
        {"ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN[:-1] + "0"},
        {"ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN[:-1] + "0"},
        {"ROLESANYWHERE_REGION": "eu-central-1"},
        {"ROLESANYWHERE_ENDPOINT": "https://vpce.example.com"},
        {"ROLESANYWHERE_DURATION_SECONDS": "900"},
        {"ROLESANYWHERE_ROLE_SESSION_NAME": "team-a.web"},
    ],
    ids=str,
)
def test_whoever_asks_for_something_else_has_another_binding(change: dict[str, str]) -> None:
    assert binding_of(Settings.from_env({**SETTINGS.to_env(), **change})) != binding_of(SETTINGS)


def test_where_the_certificate_lies_does_not_matter_to_the_binding() -> None:
    """It is the certificate itself that does, by its digest."""
    assert binding_of(replace(SETTINGS, certificate="/moved.crt", port=1)) == binding_of(SETTINGS)


@pytest.mark.parametrize(
    ("change", "at", "leaf", "says"),
    [
        ({"binding": "other"}, START, LEAF, "the session in {} is for another ARN, region,"),
        ({}, START, b"\x02" * 32, "the session in {} was made with another certificate"),
        ({}, START, None, "the certificate is not known"),
        ({"place": "x"}, START, None, "the session in {} was made with a certificate that other"),
        ({}, GOOD.expires, LEAF, "the session in {} ended at 2026-03-01 13:00:00Z"),
        (
            {},
            START - timedelta(days=1),
            LEAF,
            "the session in {} is from 2026-03-01 12:00:00Z",
        ),
    ],
)
def test_why_a_session_is_not_used_is_told(
    kept: SessionFile, change: dict[str, Any], at: datetime, leaf: bytes | None, says: str
) -> None:
    found = replace(kept, **change).look(at, leaf)
    assert isinstance(found, str)
    assert found.startswith(says.format(kept.path))


def test_why_what_lies_there_is_no_session_is_told(kept: SessionFile) -> None:
    rewrite(kept, lambda document: document.update(version=2))
    assert kept.look(START, LEAF) == (
        f"the session in {kept.path} was kept by another version of this program"
    )
    kept.path.write_text("{")
    assert kept.look(START, LEAF) == f"the session file {kept.path} holds no session"
    kept.path.chmod(0o666)
    assert "is not a file of our own" in str(kept.look(START, LEAF))
    kept.path.unlink()
    assert kept.look(START, LEAF) == f"there is no session file {kept.path}"


def test_a_folder_that_nobody_may_look_into_is_no_error(
    kept: SessionFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    for look in ("open", "stat", "lstat"):
        monkeypatch.setattr(os, look, refused)
    assert kept.look(START, LEAF) == f"there is no session file {kept.path}"
    monkeypatch.undo()


def test_settings_without_a_session_file_have_none() -> None:
    assert SessionFile.of(SETTINGS) is None
    assert SessionFile.of(replace(SETTINGS, session_file="/s")) == SessionFile(
        Path("/s"), binding_of(SETTINGS)
    )


def test_a_place_is_what_says_which_certificate_of_a_token_and_no_pin() -> None:
    def place(certificate: str, **others: Any) -> str:
        return place_of(replace(SETTINGS, certificate=certificate, private_key=None, **others))

    ours = place("pkcs11:token=node")
    assert ours == place("pkcs11:token=node?pin-value=1234")
    told = [
        ours,
        place("pkcs11:token=other"),
        place("pkcs11:token=node", use_latest_expiring_certificate=True),
        place("pkcs11:token=node", pkcs11_module="/vendor.so"),
    ]
    assert len(set(told)) == len(told)
    assert place("/tls.crt") == place("pkcs11:token=node", cert_selector="file:///chosen") == ""
