"""A store of tpm2-pkcs11 that nobody may write beside: the module is shown it elsewhere."""

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


def test_the_store_is_shown_where_it_may_be_locked(tmp_path: Path, store: Path) -> None:
    locks = tmp_path / "state" / "tpm2"
    assert lockable(told(store, locks)) == {
        "TPM2_PKCS11_STORE": str(locks),
        "TSS2_LOG": "all+none",
    }
    assert (locks / DATABASE).read_text() == "keys"
    assert [one.name for one in locks.iterdir()] == [DATABASE]


def test_what_is_added_to_the_store_is_seen(tmp_path: Path, store: Path) -> None:
    lockable(told(store, tmp_path))
    (store / DATABASE).unlink()
    (store / DATABASE).write_text("more keys")
    assert (tmp_path / DATABASE).read_text() == "more keys"


def test_a_restart_may_come_with_another_store(tmp_path: Path, store: Path) -> None:
    lockable(told(tmp_path / "an older one", tmp_path))
    lockable(told(store, tmp_path))
    assert (tmp_path / DATABASE).read_text() == "keys"


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
