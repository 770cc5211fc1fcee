"""Files and folders as they should be, and as they should not."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from rolesanywhere_sidecar.doctor import places
from rolesanywhere_sidecar.doctor.findings import Check, Finding
from rolesanywhere_sidecar.doctor.places import Seen, judge_read, judge_written, look
from tests.support.examined import FAILURE, OK, WARNING, told, troubles

KEY = Check.PRIVATE_KEY_FILE
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


def a_file(folder: Path, *, mode: int = 0o600) -> Path:
    path = folder / "tls.key"
    path.write_text("secret")
    path.chmod(mode)
    return path


def read(path: Path, env: dict[str, str] | None = None, *, check: Check = KEY) -> Finding:
    return judge_read(check, "private key", look(path, env or {}), is_secret=check is KEY)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640])
def test_a_key_of_owner_or_group_is_well(tmp_path: Path, mode: int) -> None:
    found = read(a_file(tmp_path, mode=mode))
    assert found.verdict is OK
    assert f"mode {mode:04o}" in found.sentence


def test_a_key_that_everybody_can_read_is_a_warning_on_a_server(tmp_path: Path) -> None:
    path = a_file(tmp_path, mode=0o644)
    found = read(path)
    assert found.verdict is WARNING
    assert found.remedy.startswith(f"chmod 0600 {path}")
    assert read(path, check=Check.CERTIFICATE_FILE).verdict is OK


def test_in_a_pod_the_kubelets_modes_are_normal(tmp_path: Path) -> None:
    assert read(a_file(tmp_path, mode=0o644), POD).verdict is OK


def test_a_kubelets_volume_is_known_without_the_environment(tmp_path: Path) -> None:
    path = a_file(tmp_path, mode=0o644)
    (tmp_path / "..data").symlink_to(tmp_path)
    assert read(path).verdict is OK


def test_a_missing_file_says_what_of_its_path_is_there(tmp_path: Path) -> None:
    beside = read(tmp_path / "nope")
    assert beside.verdict is FAILURE
    assert "does not exist; its folder is there" in beside.sentence
    below = read(tmp_path / "a" / "b" / "nope")
    assert f"{tmp_path} is there, no more" in below.sentence


def test_a_folder_is_no_key_but_may_hold_certificates(tmp_path: Path) -> None:
    assert read(tmp_path).verdict is FAILURE
    assert "not a regular file" in read(tmp_path).sentence
    assert read(tmp_path, check=Check.CERTIFICATE_FILE).verdict is OK


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in read(tmp_path / "pipe").sentence


SEEN = Seen(path=Path("/identity/tls.key"), uid=65532, mode=0o100600, owner=0,
            nearest=Path("/identity"), nearest_writable=True)  # fmt: skip


def test_a_file_of_somebody_else_says_whose_it_is() -> None:
    found = judge_read(
        KEY, "private key", replace(SEEN, problem="Permission denied"), is_secret=True
    )
    assert found.verdict is FAILURE
    assert "cannot be read by uid 65532: Permission denied (owner 0, mode 0600)" in found.sentence
    assert "fsGroup" in found.remedy


def test_a_folder_on_the_way_that_is_closed_is_told() -> None:
    closed = replace(SEEN, mode=None, owner=None, problem="Permission denied")
    found = judge_read(KEY, "private key", closed, is_secret=True)
    assert found.verdict is FAILURE
    assert "cannot be reached by uid 65532" in found.sentence


def written(seen: Seen) -> Finding:
    return judge_written(Check.TOKEN_FILE, "token", seen)


def test_a_file_to_be_written_needs_its_folder(tmp_path: Path) -> None:
    assert written(look(tmp_path / "token", {})).verdict is OK
    found = written(look(tmp_path / "none" / "token", {}))
    assert found.verdict is FAILURE
    assert f"there is no folder {tmp_path}/none" in found.sentence


def test_a_folder_that_we_may_not_write_in_is_a_failure() -> None:
    found = written(replace(SEEN, nearest_writable=False))
    assert found.verdict is FAILURE
    assert "uid 65532 may not write in /identity" in found.sentence


def test_a_file_of_ours_can_be_replaced_and_one_of_another_is_not_believed() -> None:
    assert written(replace(SEEN, owner=65532)).verdict is OK
    found = written(SEEN)
    assert found.verdict is WARNING
    assert "is of uid 0, not of ours (65532)" in found.sentence


def test_a_folder_in_the_files_place_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()
    assert written(look(tmp_path / "token", {})).verdict is FAILURE


def test_only_what_is_named_is_looked_at(tmp_path: Path) -> None:
    path = a_file(tmp_path)
    values = told(certificate=str(path), private_key="pkcs11:token=hsm", session_file=str(path))
    found = list(places.examine(values.values, {}))
    assert [each.check for each in found] == [Check.CERTIFICATE_FILE, Check.SESSION_FILE]
    assert troubles(found) == []


def test_a_certificate_that_holds_its_key_is_as_secret(tmp_path: Path) -> None:
    path = str(a_file(tmp_path, mode=0o644))
    [alone] = places.examine(told(certificate=path).values, {})
    assert (alone.verdict, alone.check) == (WARNING, Check.CERTIFICATE_FILE)
    assert alone.sentence.startswith("the certificate with its key ")
    beside = told(certificate=path, private_key="pkcs11:token=hsm").values
    assert troubles(places.examine(beside, {})) == []


def test_impossible_paths_are_failures_too(tmp_path: Path) -> None:
    assert read(tmp_path / ("a" * 300)).verdict is FAILURE
    (tmp_path / "round").symlink_to(tmp_path / "round")
    assert read(tmp_path / "round").verdict is FAILURE
