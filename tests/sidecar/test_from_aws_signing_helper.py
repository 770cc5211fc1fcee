"""``docs/from-aws-signing-helper.md`` names each command and flag of AWS's helper, and is right."""

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

PAGE = (Path(__file__).parents[2] / "docs" / "from-aws-signing-helper.md").read_text()


def rows(heading: str) -> dict[str, str]:
    """What the table below ``heading`` says of each name."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([a-z0-9-]+)` \| ([a-z]+) \|", text, re.MULTILINE))


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
