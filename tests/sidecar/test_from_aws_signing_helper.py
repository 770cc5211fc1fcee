"""``docs/from-aws-signing-helper.md`` names each command and flag of AWS's helper, and is right."""

import ast
import re
from pathlib import Path

import pytest

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_sidecar.commands.table import (
    COMMANDS,
    IDLE,
    IDLE_VALUES,
    REFUSED,
    REFUSED_SWITCHES,
    flag,
    flags_of,
)
from tests.fakes.aws_helper_flags import FLAGS
from tests.support.commandlines import asked

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "from-aws-signing-helper.md").read_text()
WEAKNESSES = "Known weaknesses of the helper, and what shows that they are not ours"
A_TEST = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")


def section(heading: str) -> str:
    """The page's text below ``heading``."""
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(heading: str) -> dict[str, str]:
    """What the table below ``heading`` says of each name."""
    found = re.findall(r"^\| `([a-z0-9-]+)` \| ([a-z]+) \|", section(heading), re.MULTILINE)
    return dict(found)


def weaknesses() -> list[list[str]]:
    """The cells of each row: the weakness, how it is known, and what shows that it is not ours."""
    lines = [line for line in section(WEAKNESSES).splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines[1:]]


def names_of_tests(path: str) -> set[str]:
    """The names of the test functions of a file."""
    tree = ast.parse((REPOSITORY / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, functions)}


def taken_by(command: str) -> set[str]:
    about = COMMANDS[command]
    taken = {one for name in about.settings for one in flags_of(name)}
    taken |= {flag(name) for name in about.options}
    return taken | ({*IDLE, *IDLE_VALUES, *REFUSED_SWITCHES} if about.needs else set())


def test_every_command_has_its_row() -> None:
    verdicts = rows("Commands")
    assert verdicts.keys() == COMMANDS.keys()
    assert {name for name, verdict in verdicts.items() if verdict != "new"} == FLAGS.keys()


def test_every_flag_has_its_row() -> None:
    assert rows("Flags").keys() == set().union(*FLAGS.values())


@pytest.mark.parametrize("command", sorted(FLAGS))
def test_a_flag_of_the_helper_is_taken_unless_the_page_says_otherwise(command: str) -> None:
    verdicts = rows("Flags")
    for name in FLAGS[command]:
        if name in REFUSED:
            assert verdicts[name] in ("refused", "later")
        else:
            assert name in taken_by(command), f"{command} {name}"
            assert verdicts[name] != "refused"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused_says_what_does_its_work(name: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^{name}: "):
        asked(["sign-string", "--certificate", "/c", name], {})


def test_every_test_that_the_page_names_is_there() -> None:
    named = A_TEST.findall(section(WEAKNESSES))
    assert len(set(named)) > 30
    assert section(WEAKNESSES).count("::") == len(named)
    assert [one for one in named if one[1] not in names_of_tests(one[0])] == []


@pytest.mark.parametrize("row", weaknesses(), ids=lambda row: row[0][:40])
def test_a_weakness_says_how_it_is_known_and_what_shows_ours(row: list[str]) -> None:
    _, known, ours = row
    assert known == "source" or re.match(rf"seen: {A_TEST.pattern}(; later: |$)", known)
    shared = "the same test" in ours and known.startswith("seen: ")
    assert A_TEST.search(ours) or shared or ours.startswith("The same here")
