"""The test command tells the truth about its tiers, whatever becomes of them."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests import run
from tests.support.children import Children
from tests.support.waiting import eventually, runs

GOOD = "def test_good(): pass\n"
BAD = "def test_bad(): assert False, 'as it should'\n"
SKIPPED = "import pytest\ndef test_skipped(): pytest.skip('no such tool')\n"
CRASHES = "import os\ndef test_crash(): os.abort()\n"
BROKEN = "import nothing_of_that_name\n"


@pytest.fixture
def tiers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Path]:
    """Tiers of one process, of two, and of one, whose tests are yet to be written."""
    folders = {name: tmp_path / name for name in ("one", "two", "last")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setattr(run, "TESTS", {name: (str(path),) for name, path in folders.items()})
    monkeypatch.setattr(run, "WORKERS", {"two": 2})
    monkeypatch.delenv("CI", raising=False)
    return folders


@pytest.fixture
def children() -> Iterator[Children]:
    with Children(run.ROOT) as started:
        yield started


def test_every_test_is_counted_as_what_it_was(
    tiers: Mapping[str, Path], children: Children
) -> None:
    tests = {"good": GOOD, "better": GOOD, "bad": BAD, "skipped": SKIPPED}
    for name, text in tests.items():
        (tiers["two"] / f"test_{name}.py").write_text(text)
    found = run.run_tests("two", children)
    assert (found.passed, found.failed, dict(found.skipped)) == (2, 1, {"no such tool": 1})
    assert "2 passed, 1 FAILED, 1 skipped (no such tool)" in str(found)


@pytest.mark.parametrize(
    ("tier", "text"),
    [("one", CRASHES), ("two", CRASHES), ("two", BROKEN), ("one", "")],
    ids=["crash", "crash of a worker", "import", "no tests"],
)
def test_what_did_not_run_is_a_failure(
    tiers: Mapping[str, Path], tier: str, text: str, children: Children
) -> None:
    (tiers[tier] / "test_it.py").write_text(text)
    found = run.run_tests(tier, children)
    assert found.failed > 0


def test_all_tiers_run_though_the_first_fails_and_the_exit_code_tells(
    tiers: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (tiers["one"] / "test_it.py").write_text(BAD)
    (tiers["last"] / "test_it.py").write_text(GOOD)
    assert run.run(["one", "last"]) == 1
    summary = capsys.readouterr().out.partition("== summary")[2]
    assert "1 FAILED" in summary
    assert summary.endswith("1 passed, 1 failed, 0 skipped\n")


def test_a_skipped_test_is_a_failure_where_skipping_is_forbidden(
    tiers: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiers["one"] / "test_it.py").write_text(SKIPPED)
    assert run.run(["one"]) == 0
    monkeypatch.setenv("CI", "true")
    assert run.run(["one"]) == 1
    assert "CI forbids skipping, and 1 tests were skipped" in capsys.readouterr().out


def test_a_tier_beside_the_others_is_told_at_the_end_and_in_its_place(
    tiers: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "COMMANDS", {"types": (("python", "-c", "print('all typed')"),)})
    (tiers["one"] / "test_it.py").write_text(GOOD)
    assert run.run(["types", "one"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("== one") < printed.index("== types\nall typed\n")
    summary = printed.partition("== summary")[2]
    assert summary.index("types ") < summary.index("one ")


STAYS = """
import subprocess, sys, time
from pathlib import Path
def test_stays():
    server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path({folder!r}, str(server.pid)).touch()
    time.sleep(600)
"""
COMMAND = """
import sys
from tests import run
run.TESTS = {{"one": ({folder!r},), "two": ({folder!r},)}}
run.WORKERS = {{"one": {workers}}}
sys.exit(run.main(["one", "two"]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_told_to_end_it_ends_what_runs_and_starts_no_other_tier(
    tmp_path: Path, workers: int
) -> None:
    (tmp_path / "test_it.py").write_text(STAYS.format(folder=str(tmp_path)))
    code = COMMAND.format(folder=str(tmp_path), workers=workers)
    with (tmp_path / "said").open("wb") as said:
        command = subprocess.Popen([sys.executable, "-c", code], cwd=run.ROOT, stdout=said)
    servers = eventually("a test is under way", lambda: list(tmp_path.glob("[0-9]*")))
    command.send_signal(signal.SIGTERM)
    assert command.wait(timeout=60) == 128 + signal.SIGTERM
    text = (tmp_path / "said").read_text()
    assert "== two" not in text
    assert "two            interrupted" in text
    eventually("the server is gone", lambda: not runs(int(servers[0].name)))
