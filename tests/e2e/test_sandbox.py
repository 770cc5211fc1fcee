"""Namespaces of several clusters side by side, without Kubernetes: none harms another."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e import traces
from tests.e2e.conftest import NAME
from tests.e2e.harness import machine, sandbox
from tests.e2e.harness.configuration import PLAN
from tests.e2e.harness.sandbox import Plan, Sandbox, SandboxFailed
from tests.e2e.traces import Machine
from tests.support.tools import build_or_skip


@pytest.fixture
def sandboxes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Sandbox, Sandbox]]:
    """The only two, not made yet; ended after the test, whatever it did."""
    build_or_skip(machine.prepare)
    made = Sandbox(f"{NAME}-first"), Sandbox(f"{NAME}-second")
    with ExitStack() as stack:
        # A socket's path is short, and a test's own folder has a long one.
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        monkeypatch.setattr(sandbox, "CLUSTERS", Path(folder) / "clusters")
        for one in made:
            stack.enter_context(one.held())
            stack.callback(one.destroy)
        yield made


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A node's, but that it covers one folder, which the machine lacks."""
    return replace(PLAN, folders={str(tmp_path / "covered"): "mine"})


def test_a_cluster_keeps_its_folders_when_the_one_that_made_their_places_ends(
    sandboxes: tuple[Sandbox, Sandbox], plan: Plan
) -> None:
    first, second = sandboxes
    [covered] = map(Path, plan.folders)
    processes = [one.make(plan, owned=True) for one in sandboxes]

    first.destroy()
    subprocess.run(second.inside(["touch", covered / "written"]), check=True)

    assert (second.folder / "mine" / "written").exists()
    assert list(covered.iterdir()) == []
    second.destroy()
    assert not covered.exists()
    for process in processes:
        process.communicate()


def test_namespaces_that_cannot_be_made_leave_nothing(
    sandboxes: tuple[Sandbox, Sandbox], plan: Plan
) -> None:
    with pytest.raises(SandboxFailed, match="could not be made"):
        sandboxes[0].make(replace(plan, address="no address"), owned=False)

    assert traces.of(sandboxes[0]) == []
    assert not any(Path(folder).exists() for folder in plan.folders)


def test_two_runs_do_not_take_the_same_cluster(sandboxes: tuple[Sandbox, Sandbox]) -> None:
    again = Sandbox(sandboxes[0].name)
    with pytest.raises(SandboxFailed, match="-first is in the hands of another run"), again.held():
        pass


def test_what_is_left_in_a_folder_that_was_there_before_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build_or_skip(machine.prepare)
    monkeypatch.setattr(traces, "FOLDERS", (str(tmp_path),))
    before = Machine.look()
    (tmp_path / "left").touch()
    assert set(Machine.look().folders) - set(before.folders) == {str(tmp_path / "left")}
