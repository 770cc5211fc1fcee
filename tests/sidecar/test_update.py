"""A session that could not be written is written later, and AWS is not asked for another."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from rolesanywhere_sidecar.commands.credentialsfile import CredentialsFile, CredentialsFileUnusable
from rolesanywhere_sidecar.commands.update import Written
from tests.support.clocks import FakeClock
from tests.support.sessions import SECRET_ACCESS_KEY, ScriptedSource


async def test_what_could_not_be_written_is_written_while_it_is_good(tmp_path: Path) -> None:
    clock = FakeClock()
    source = ScriptedSource(clock.now)
    file = CredentialsFile(tmp_path / "credentials", "default")
    written = Written(source, file, now=clock.now)
    file.path.mkdir()
    for _ in range(2):
        with pytest.raises(CredentialsFileUnusable):
            await written.create_session()
    file.path.rmdir()
    first = await written.create_session()
    assert source.attempts == 1
    assert first.access_key_id in file.path.read_text()
    assert await written.create_session() != first
    assert source.attempts == 2


async def test_what_was_not_written_in_time_is_let_go(tmp_path: Path) -> None:
    clock = FakeClock()
    source = ScriptedSource(clock.now)
    file = CredentialsFile(tmp_path / "credentials", "default")
    written = Written(source, file, now=clock.now)
    file.path.mkdir()
    with pytest.raises(CredentialsFileUnusable):
        await written.create_session()
    clock.wall += timedelta(minutes=50)
    file.path.rmdir()
    await written.create_session()
    assert source.attempts == 2


async def test_a_source_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    clock = FakeClock()
    source = ScriptedSource(clock.now)
    file = CredentialsFile(tmp_path / "credentials", "default")
    written = Written(source, file, now=clock.now)
    await written.create_session()
    before = file.path.read_bytes()
    source.failure = LookupError()
    with pytest.raises(LookupError):
        await written.create_session()
    assert file.path.read_bytes() == before


async def test_what_is_told_names_the_profile_and_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    file = CredentialsFile(tmp_path / "credentials", "team")
    with caplog.at_level(logging.INFO):
        await Written(ScriptedSource(clock.now), file, now=clock.now).create_session()
    assert caplog.messages == [
        f"profile team of {file.path} written, good until 2026-03-01T13:00:00Z"
    ]
    assert SECRET_ACCESS_KEY not in caplog.text
