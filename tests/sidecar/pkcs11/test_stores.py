"""A store of tpm2-pkcs11 that nobody may write beside: the module is shown it elsewhere."""

import os
from pathlib import Path

import pytest

from rolesanywhere_sidecar.identities.pkcs11.stores import lockable

DATABASE = "tpm2_pkcs11.sqlite3"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / DATABASE).write_text("keys")
    return folder


def told(store: Path, locks: Path) -> dict[str, str]:
    return {"TPM2_PKCS11_STORE": str(store), "PKCS11_SQL_LOCK": str(locks), "TSS2_LOG": "all+none"}


def shown(store: Path, locks: Path) -> Path:
    """Where the module is led to."""
    env = lockable(told(store, locks))
    assert env.keys() == {"TPM2_PKCS11_STORE", "TSS2_LOG"}
    return Path(env["TPM2_PKCS11_STORE"])


def test_the_store_is_shown_where_it_may_be_locked(tmp_path: Path, store: Path) -> None:
    locks = tmp_path / "state" / "tpm2"
    folder = shown(store, locks)
    assert folder.parent == locks
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / DATABASE).read_text() == "keys"
    assert [one.name for one in folder.iterdir()] == [DATABASE]


def test_what_is_added_to_the_store_is_seen(tmp_path: Path, store: Path) -> None:
    folder = shown(store, tmp_path)
    (store / DATABASE).unlink()
    (store / DATABASE).write_text("more keys")
    assert (folder / DATABASE).read_text() == "more keys"


def test_each_store_that_is_locked_in_one_folder_stays_itself(tmp_path: Path, store: Path) -> None:
    another = tmp_path / "another"
    another.mkdir()
    (another / DATABASE).write_text("other keys")
    first, second = shown(store, tmp_path), shown(another, tmp_path)
    assert shown(store, tmp_path) == first
    assert (first / DATABASE).read_text() == "keys"
    assert (second / DATABASE).read_text() == "other keys"


def test_a_relative_store_is_found_from_anywhere(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store.parent)
    folder = shown(Path(store.name), Path("locks"))
    monkeypatch.chdir("/")
    assert folder.is_relative_to(tmp_path)
    assert (folder / DATABASE).read_text() == "keys"


def test_a_store_whose_own_folder_is_named_for_locks_stays_whole(store: Path) -> None:
    folder = shown(store, store)
    assert not (store / DATABASE).is_symlink()
    assert (store / DATABASE).read_text() == (folder / DATABASE).read_text() == "keys"


def test_what_is_no_link_of_ours_is_not_replaced(tmp_path: Path, store: Path) -> None:
    link = shown(store, tmp_path) / DATABASE
    link.unlink()
    link.write_text("somebody's keys")
    assert lockable(told(store, tmp_path)) == told(store, tmp_path)
    assert link.read_text() == "somebody's keys"


def test_a_folder_that_others_may_write_to_chooses_no_store(tmp_path: Path, store: Path) -> None:
    shown(store, tmp_path).chmod(0o770)
    assert lockable(told(store, tmp_path)) == told(store, tmp_path)


def test_nor_does_one_that_is_somebody_elses(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = shown(store, tmp_path).stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert lockable(told(store, tmp_path)) == told(store, tmp_path)


def test_nor_does_one_that_a_link_leads_to(tmp_path: Path, store: Path) -> None:
    folder = shown(store, tmp_path)
    folder.rename(tmp_path / "theirs")
    folder.symlink_to(tmp_path / "theirs")
    assert lockable(told(store, tmp_path)) == told(store, tmp_path)


def test_a_link_of_ours_that_led_elsewhere_is_made_anew(tmp_path: Path, store: Path) -> None:
    link = shown(store, tmp_path) / DATABASE
    link.unlink()
    link.symlink_to(tmp_path)
    shown(store, tmp_path)
    assert link.read_text() == "keys"


@pytest.mark.parametrize("missing", ["TPM2_PKCS11_STORE", "PKCS11_SQL_LOCK"])
def test_who_names_no_other_folder_for_locks_is_left_alone(
    tmp_path: Path, store: Path, missing: str
) -> None:
    env = told(store, tmp_path)
    del env[missing]
    assert lockable(env) == env
    assert not (tmp_path / DATABASE).is_symlink()


def test_without_room_for_a_link_the_module_is_told_what_was_said(
    tmp_path: Path, store: Path
) -> None:
    taken = tmp_path / "a file"
    taken.touch()
    assert lockable(told(store, taken)) == told(store, taken)
