"""Debian packages are installed once, quietly, and where they cannot be it is said how."""

import os
from pathlib import Path

import pytest

from tests.support import debian
from tests.support.tools import ToolMissing

# Stands in for dpkg-query: knows a package by a file of its name.
DPKG_QUERY = """#!/bin/sh
cd "$(dirname "$0")"/../installed
shift 2
for name; do [ ! -e "$name" ] || echo "$(cat "$name") $name"; done
"""

# Stands in for apt-get: notes its last words and installs what the archive's list names.
APT_GET = """#!/bin/sh
cd "$(dirname "$0")"/..
shift 3
echo "$* policy=$(tail -n 1 policy 2>&-) frontend=$DEBIAN_FRONTEND" >> calls
[ "$1" = update ] && { cp archive list; exit; }
shift 3
for name; do grep -qx "$name" list || { echo "E: Unable to locate package $name" >&2; exit 100; }; done
for name; do echo installed > "installed/$name"; done
"""  # noqa: E501 - a shell script's line


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own: root, with an archive and a list that is as fresh as it."""
    for folder in ("bin", "installed"):
        (tmp_path / folder).mkdir()
    for name, script in (("dpkg-query", DPKG_QUERY), ("apt-get", APT_GET)):
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    for name in ("archive", "list"):
        (tmp_path / name).write_text("softhsm2\nswtpm\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("ROLESANYWHERE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(debian, "POLICY", tmp_path / "policy")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def calls(machine: Path) -> list[str]:
    return (machine / "calls").read_text().splitlines() if (machine / "calls").exists() else []


def test_what_is_missing_is_installed_in_one_go(machine: Path) -> None:
    debian.packages("softhsm2", "swtpm")
    assert len(calls(machine)) == 1
    assert not debian.missing(["softhsm2", "swtpm"])


def test_what_is_there_costs_no_apt(machine: Path) -> None:
    (machine / "installed" / "softhsm2").write_text("installed\n")
    debian.packages("softhsm2")
    assert calls(machine) == []


def test_a_package_that_was_removed_is_not_there(machine: Path) -> None:
    (machine / "installed" / "softhsm2").write_text("config-files\n")
    debian.packages("softhsm2")
    assert len(calls(machine)) == 1


def test_a_stale_list_is_made_new_once(machine: Path) -> None:
    (machine / "list").write_text("")
    debian.packages("softhsm2")
    assert [call.split()[0] for call in calls(machine)] == ["install", "update", "install"]


def test_nothing_is_asked_and_no_service_starts(machine: Path) -> None:
    debian.packages("softhsm2")
    (call,) = calls(machine)
    assert call.endswith("policy=exit 101 frontend=noninteractive")
    assert not (machine / "policy").exists()


def test_a_rule_that_the_machine_has_for_services_stays(machine: Path) -> None:
    (machine / "policy").write_text("its own\n")
    debian.packages("softhsm2")
    assert "policy=its own " in calls(machine)[0]
    assert (machine / "policy").read_text() == "its own\n"


def test_an_unknown_package_is_named_with_apts_own_words(machine: Path) -> None:
    with pytest.raises(ToolMissing, match=r"swtpm2.*Unable to locate package swtpm2"):
        debian.packages("swtpm2")
    assert not (machine / "policy").exists()


def test_who_is_not_root_is_told_the_command(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ToolMissing, match=r"apt-get install --no-install-recommends swtpm$"):
        debian.packages("swtpm")
    assert calls(machine) == []


def test_without_debian_it_says_what_is_missing(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(machine / "nothing"))
    with pytest.raises(ToolMissing, match="not installed: softhsm2, swtpm; on Debian 12"):
        debian.packages("softhsm2", "swtpm")
