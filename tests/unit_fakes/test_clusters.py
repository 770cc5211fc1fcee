"""What the cluster of the end-to-end tests says where none can run, and when a build fails."""

import asyncio
import os
import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e import background
from tests.e2e.harness import building, cgroups, machine
from tests.e2e.harness.building import BuildFailed
from tests.support.tools import ToolMissing


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which a cluster can run, whatever this one is; its control groups."""
    (tmp_path / "cgroup.controllers").touch()
    monkeypatch.setattr(cgroups, "MOUNT", tmp_path)
    monkeypatch.setattr(cgroups, "trees", lambda: [tmp_path])
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "access", lambda *_: True)
    return tmp_path


def test_a_machine_with_all_that_a_cluster_takes_is_fit(fit: Path) -> None:
    assert machine.unfit() == ""


def test_another_system_is_unfit(fit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert machine.unfit() == "this is Darwin, and a kubelet needs Linux"
    with pytest.raises(ToolMissing, match="no cluster can run here: this is Darwin"):
        machine.prepare()


def test_another_user_than_root_is_told_to_be_root(
    fit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "run it as root" in machine.unfit()


def test_a_machine_without_control_groups_is_unfit(
    fit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "trees", list)
    assert machine.unfit() == f"no control groups are mounted at {fit}"


def test_control_groups_that_cannot_be_written_are_named(
    fit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert machine.unfit() == f"control groups are mounted read-only at {fit}"


def test_a_build_that_fails_is_no_missing_tool_and_nobody_skips_for_it() -> None:
    with pytest.raises(BuildFailed, match="failed: no such target") as failed:
        building.run("sh", "-c", "echo no such target >&2; exit 1")
    assert not isinstance(failed.value, ToolMissing)


def test_a_program_that_is_not_there_is_a_missing_tool() -> None:
    with pytest.raises(ToolMissing, match="no-such-program is not installed"):
        building.run("no-such-program")


def test_a_server_that_never_starts_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "STARTS_SECONDS", 0.01)
    monkeypatch.setattr(background, "CLOSED_SECONDS", 0)
    cancelled: list[bool] = []

    @asynccontextmanager
    async def never() -> AsyncIterator[None]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        yield

    with pytest.raises(TimeoutError), background.in_background(never()):
        pass
    assert cancelled == [True]
