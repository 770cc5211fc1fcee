"""Go tools are built once, as pinned, and say plainly why they cannot be had."""

import stat
from pathlib import Path

import pytest

from tests.support import gotools
from tests.support.tools import ToolMissing

PACKAGE = "example.com/tools/v2/cmd/hammer"
GO_MOD = """module example.com/ours

go 1.26

tool example.com/tools/v2/cmd/hammer

require (
	example.com/tools v1.0.0 // indirect
	example.com/tools/v2 v2.3.4
)
"""

# Stands in for go: notes how it was called, then writes the file named after -o.
GO = """#!/bin/sh
echo "$CGO_ENABLED $*" >> "$(dirname "$0")/calls"
while [ "$1" != -o ]; do shift; done
echo built > "$2"
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module called ``ours`` and a go of its own."""
    module = tmp_path / "tools" / "ours"
    module.mkdir(parents=True)
    (module / "go.mod").write_text(GO_MOD)
    (module / "go.sum").write_text("example.com/tools/v2 v2.3.4 h1:x\n")
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(gotools, "TOOLS", tmp_path / "tools")
    monkeypatch.setenv("ROLESANYWHERE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    install_go(tmp_path, GO)
    return tmp_path


def install_go(bench: Path, script: str) -> None:
    go = bench / "bin" / "go"
    go.write_text(script)
    go.chmod(go.stat().st_mode | stat.S_IXUSR)


def calls(bench: Path) -> list[str]:
    return (bench / "bin" / "calls").read_text().splitlines()


def test_a_tool_is_built_once(bench: Path) -> None:
    first = gotools.build("ours", PACKAGE)
    assert first.read_text() == "built\n"
    assert gotools.build("ours", PACKAGE) == first
    assert len(calls(bench)) == 1


def test_its_place_tells_its_version(bench: Path) -> None:
    built = gotools.build("ours", PACKAGE)
    assert built.name == "hammer"
    assert built.parent.name.startswith("ours-v2.3.4-")
    assert built.is_relative_to(bench / "cache" / "bin")


def test_it_is_built_without_paths_symbols_and_c(bench: Path) -> None:
    gotools.build("ours", PACKAGE, ldflags=["-X", "a.b=c"])
    [call] = calls(bench)
    assert call.startswith("0 build -trimpath -ldflags -s -w -X a.b=c -o ")
    assert call.endswith(PACKAGE)


def test_whatever_changes_the_tool_builds_it_anew(bench: Path) -> None:
    plain = gotools.build("ours", PACKAGE)
    with_c = gotools.build("ours", PACKAGE, cgo=True)
    stamped = gotools.build("ours", PACKAGE, ldflags=["-X", "a.b=c"])
    (bench / "tools" / "ours" / "go.sum").write_text("example.com/tools/v2 v2.3.4 h1:y\n")
    assert len({plain, with_c, stamped, gotools.build("ours", PACKAGE)}) == 4
    assert calls(bench)[1].startswith("1 ")


def test_a_command_is_called_after_its_module_not_its_major_version(bench: Path) -> None:
    assert gotools.build("ours", "example.com/tools/v2").name == "tools"


def test_a_program_of_our_own_is_built_anew_when_its_source_changes(bench: Path) -> None:
    source = bench / "tools" / "ours"
    (source / "main.go").write_text("package main\n")
    first = gotools.build_program(source)
    assert gotools.build_program(source) == first
    assert len(calls(bench)) == 1
    (source / "main.go").write_text("package main // changed\n")
    assert gotools.build_program(source) != first
    assert calls(bench)[1].endswith(" .")


def test_without_go_there_is_no_tool(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(bench))
    with pytest.raises(ToolMissing, match=r"go is not installed, and .*hammer is built with it"):
        gotools.build("ours", PACKAGE)


@pytest.mark.parametrize(
    ("complaint", "cause"),
    [
        ("go: go.mod requires go >= 1.99 (running go 1.26; GOTOOLCHAIN=local)", "is too old"),
        ("dial tcp: lookup proxy.example: no such host", "could not be fetched"),
        ('cgo: C compiler "gcc" not found', "needs a C compiler"),
        ("main.go:1: syntax error", "go build failed"),
    ],
)
def test_a_failed_build_says_why_and_leaves_nothing(
    bench: Path, complaint: str, cause: str
) -> None:
    install_go(bench, f"#!/bin/sh\necho '{complaint}' >&2\nexit 1\n")
    with pytest.raises(ToolMissing) as missing:
        gotools.build("ours", PACKAGE)
    assert cause in str(missing.value)
    assert complaint in str(missing.value)
    install_go(bench, GO)
    assert gotools.build("ours", PACKAGE).exists()


def test_a_build_that_hangs_is_given_up(bench: Path) -> None:
    install_go(bench, "#!/bin/sh\nexec sleep 30\n")
    with pytest.raises(ToolMissing, match="did not finish building hammer in"):
        gotools.build("ours", PACKAGE, timeout=0.2)


def test_a_package_that_nothing_requires_is_a_mistake(bench: Path) -> None:
    with pytest.raises(ToolMissing, match=r"requires no module that holds example\.com/other"):
        gotools.build("ours", "example.com/other")


def test_a_tool_of_our_own_is_built_anew_when_its_files_change(bench: Path) -> None:
    main = bench / "tools" / "ours" / "main.go"
    main.write_text("package main\n")
    first = gotools.build("ours", "example.com/ours")
    assert first.parent.name.startswith("ours-ours-")
    assert gotools.build("ours", "example.com/ours") == first
    main.write_text("package main // changed\n")
    assert gotools.build("ours", "example.com/ours") != first
    assert len(calls(bench)) == 2


def test_a_tool_of_our_own_needs_no_sums(bench: Path) -> None:
    (bench / "tools" / "ours" / "go.sum").unlink()
    assert gotools.build("ours", "example.com/ours").exists()
