"""The shared credentials file: whose it stays, where it is, and that nothing in it is lost."""

import asyncio
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from rolesanywhere_sidecar import files, locks
from rolesanywhere_sidecar.commands.credentialsfile import CredentialsFile, CredentialsFileUnusable
from tests.support.sessions import SECRET_ACCESS_KEY, SESSION_TOKEN, some_credentials

GOOD = some_credentials()
PROFILE = f"""\
[default]
aws_access_key_id = {GOOD.access_key_id}
aws_secret_access_key = {SECRET_ACCESS_KEY}
aws_session_token = {SESSION_TOKEN}
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def file(tmp_path: Path) -> CredentialsFile:
    return CredentialsFile(tmp_path / ".aws" / "credentials", "default")


async def test_a_first_file_is_for_our_user_alone_and_so_is_its_folder(
    file: CredentialsFile,
) -> None:
    """The helper makes a folder that nobody but root can enter (mode 0600)."""
    await file.write(GOOD)
    assert file.path.read_text() == PROFILE
    assert mode_of(file.path) == 0o600
    assert mode_of(file.path.parent) == 0o700


@pytest.mark.parametrize(
    ("before", "after"), [(0o600, 0o600), (0o644, 0o600), (0o400, 0o400), (0o660, 0o600)]
)
async def test_its_mode_is_never_wider_than_ours_or_than_it_was(
    file: CredentialsFile, before: int, after: int
) -> None:
    await file.write(GOOD)
    file.path.chmod(before)
    await file.write(GOOD)
    assert mode_of(file.path) == after


async def test_it_is_replaced_and_not_written_in_place(file: CredentialsFile) -> None:
    """Whoever reads it meanwhile reads the file of before, whole. The helper truncates it."""
    await file.write(GOOD)
    with file.path.open() as reader:
        await file.write(some_credentials(2))
        assert reader.read() == PROFILE
    assert "ASIAEXAMPLE000000002" in file.path.read_text()
    assert sorted(path.name for path in file.path.parent.iterdir()) == [
        "credentials",
        "credentials.lock",
    ]


async def test_a_link_stays_one_and_its_target_is_written(
    file: CredentialsFile, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "vault" / "secret"
    elsewhere.parent.mkdir()
    elsewhere.write_text("[team]\nx = 1\n")
    file.path.parent.mkdir()
    file.path.symlink_to(elsewhere)
    await file.write(GOOD)
    assert file.path.is_symlink()
    assert elsewhere.read_text() == f"[team]\nx = 1\n\n{PROFILE}"


async def test_a_link_to_a_file_that_is_not_there_yet_leads_to_it(
    file: CredentialsFile, tmp_path: Path
) -> None:
    file.path.parent.mkdir()
    file.path.symlink_to(tmp_path / "later" / "secret")
    await file.write(GOOD)
    assert (tmp_path / "later" / "secret").read_text() == PROFILE


async def test_bytes_that_are_no_text_come_back(file: CredentialsFile) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(b"# \xff\xfe\r\n[team]\r\nx = \xe4\r\n")
    await file.write(GOOD)
    ours = PROFILE.replace("\n", "\r\n").encode()
    assert file.path.read_bytes() == b"# \xff\xfe\r\n[team]\r\nx = \xe4\r\n\r\n" + ours


async def test_two_who_write_at_once_both_find_their_profile(file: CredentialsFile) -> None:
    both = [replace(file, profile=f"team-{number}") for number in range(20)]
    await asyncio.gather(*(each.write(GOOD) for each in both))
    text = file.path.read_text()
    assert all(f"[{each.profile}]\naws_access_key_id = " in text for each in both)


async def test_without_the_lock_nothing_is_written(
    file: CredentialsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rolesanywhere_sidecar.commands.credentialsfile.PATIENCE_SECONDS", 0.1)
    file.path.parent.mkdir()
    async with locks.held(locks.beside(file.path), within=1):
        with pytest.raises(locks.LockUnavailable):
            await file.write(GOOD)
    assert not file.path.exists()


async def test_what_cannot_be_read_is_not_replaced(file: CredentialsFile) -> None:
    file.path.mkdir(parents=True)
    with pytest.raises(CredentialsFileUnusable, match="it is not a regular file"):
        await file.write(GOOD)
    assert file.path.is_dir()


async def test_a_failure_leaves_the_file_as_it_was_and_names_no_secret(
    file: CredentialsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    await file.write(GOOD)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CredentialsFileUnusable) as caught:
        await file.write(some_credentials(2))
    assert str(caught.value) == (
        f"the credentials file {file.path} cannot be written: No space left on device;"
        " name a file in a folder that is yours with AWS_SHARED_CREDENTIALS_FILE"
    )
    assert file.path.read_text() == PROFILE
    assert {path.name for path in file.path.parent.iterdir()} == {"credentials", "credentials.lock"}


async def test_another_users_file_stays_his(
    file: CredentialsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may keep a profile fresh in somebody's home."""
    await file.write(GOOD)
    owner = file.path.stat()
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: owner.st_uid)
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
    await file.write(GOOD)
    assert given == []
    monkeypatch.setattr(files, "is_own", lambda _: True)
    monkeypatch.setattr(os, "geteuid", lambda: owner.st_uid + 1)
    await file.write(GOOD)
    assert given == [(owner.st_uid, owner.st_gid)]


@pytest.mark.parametrize("secret", ["", "two\nlines", "a\x85b", "a b", "ä"])
async def test_a_session_that_would_be_another_line_is_refused(
    file: CredentialsFile, secret: str
) -> None:
    with pytest.raises(CredentialsFileUnusable, match="aws_session_token has characters") as caught:
        await file.write(replace(GOOD, session_token=secret))
    assert not secret or secret not in str(caught.value)
    assert not file.path.exists()


def test_it_is_where_aws_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    usual = CredentialsFile.of("default", {})
    assert usual == CredentialsFile(Path("/home/me/.aws/credentials"), "default")
    named = CredentialsFile.of("team", {"AWS_SHARED_CREDENTIALS_FILE": "~/mine"})
    assert named == CredentialsFile(Path("/home/me/mine"), "team")


async def test_a_name_with_a_null_is_told() -> None:
    with pytest.raises(CredentialsFileUnusable, match="null"):
        await CredentialsFile(Path("\0"), "default").write(GOOD)
