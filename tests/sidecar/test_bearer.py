"""The token and its file: who may read it, when it is kept, and that it is never shown."""

import errno
import os
import re
import stat
from pathlib import Path

import pytest

from rolesanywhere_contract.names import TOKEN_DIRECTORY
from rolesanywhere_sidecar.serving.bearer import BearerToken, TokenFileUnusable, keep, mode_beside

GOOD = "A" * 43


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_token_is_one_line_without_its_end(tmp_path: Path) -> None:
    keep(tmp_path / "token")
    assert re.fullmatch(rb"[A-Za-z0-9_-]{43}", (tmp_path / "token").read_bytes())


def test_each_first_start_makes_another_token(tmp_path: Path) -> None:
    assert keep(tmp_path / "a").reveal() != keep(tmp_path / "b").reveal()


def test_a_restart_keeps_the_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    first = keep(path).reveal()
    written = path.stat()
    assert keep(path).reveal() == first == path.read_text()
    assert path.stat().st_ino == written.st_ino


@pytest.mark.parametrize(
    "content", ["", "short", GOOD + "\n", GOOD + "A", "ä" * 43, " " + GOOD[1:], "\0" * 43]
)
def test_what_is_no_token_of_ours_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    assert keep(path).reveal() == path.read_text() != content


def test_a_link_is_replaced_and_what_it_leads_to_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(GOOD)
    (tmp_path / "token").symlink_to(elsewhere)
    assert keep(tmp_path / "token").reveal() != GOOD
    assert not (tmp_path / "token").is_symlink()
    assert elsewhere.read_text() == GOOD


def test_a_pipe_in_its_place_makes_nobody_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    assert keep(tmp_path / "token").reveal() == (tmp_path / "token").read_text()


def test_a_token_that_another_user_left_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(GOOD)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    assert keep(tmp_path / "token").reveal() != GOOD


def test_nothing_else_is_left_beside_it(tmp_path: Path) -> None:
    keep(tmp_path / "token")
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_a_folder_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TokenFileUnusable, match="No such file or directory") as caught:
        keep(tmp_path / "missing" / "token")
    assert str(tmp_path / "missing" / "token") in str(caught.value)


def test_a_folder_in_the_tokens_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()
    with pytest.raises(TokenFileUnusable, match="Is a directory"):
        keep(tmp_path / "token")
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_a_full_volume_is_one_sentence_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, mode: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(TokenFileUnusable, match="No space left on device"):
        keep(tmp_path / "token")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "expected", "why"),
    [
        (0o0777, 0o444, "an emptyDir: whoever has it mounted may read"),
        (0o2777, 0o440, "an emptyDir with fsGroup: its group may read"),
        (0o2770, 0o440, "a volume of the group alone"),
        (0o1777, 0o440, "a folder like /tmp: other users are nobody's choice"),
        (0o0755, 0o440, "a folder of a machine"),
        (0o0700, 0o440, "a folder of our own"),
    ],
)
def test_who_may_read_follows_from_the_folder(folder: int, expected: int, why: str) -> None:
    assert oct(mode_beside("/srv/token", stat.S_IFDIR | folder)) == oct(expected), why


@pytest.mark.parametrize(
    ("folder", "expected", "why"),
    [
        (0o1777, 0o444, "an emptyDir in memory: whoever has it mounted may read"),
        (0o3777, 0o440, "an emptyDir in memory with fsGroup: its group may read"),
        (0o0755, 0o440, "a folder of the image"),
    ],
)
def test_in_the_volume_of_pods_an_app_of_any_user_may_read(
    folder: int, expected: int, why: str
) -> None:
    assert oct(mode_beside(TOKEN_DIRECTORY, stat.S_IFDIR | folder)) == oct(expected), why


@pytest.mark.parametrize(("folder", "expected"), [(0o777, 0o444), (0o2777, 0o440)])
def test_the_file_gets_those_permissions_whatever_the_umask(
    tmp_path: Path, folder: int, expected: int
) -> None:
    tmp_path.chmod(folder)
    before = os.umask(0o077)
    try:
        keep(tmp_path / "token")
    finally:
        os.umask(before)
    assert oct(mode_of(tmp_path / "token")) == oct(expected)


def test_only_the_very_same_text_matches() -> None:
    token = BearerToken(GOOD)
    assert token.matches(GOOD)
    for wrong in ("", GOOD[1:], GOOD + "A", GOOD.lower(), f"Bearer {GOOD}", "é" * 43, "\udce9"):
        assert not token.matches(wrong)


def test_a_token_does_not_print_itself() -> None:
    assert GOOD not in f"{BearerToken(GOOD)} {BearerToken(GOOD)!r}"
