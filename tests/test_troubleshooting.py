"""``docs/troubleshooting.md`` leaves out no check, and promises no cure that the code does not."""

import re
from pathlib import Path

import pytest

from rolesanywhere_sidecar.doctor.findings import GROUPS, Check, group_of
from rolesanywhere_sidecar.failures import AccessDenied, failure_class, hint_for

GUIDE = (Path(__file__).parents[1] / "docs" / "troubleshooting.md").read_text()


def first_cells(heading: str) -> list[str]:
    """The first cell of each row below a heading, up to the next."""
    text = re.split(r"\n#+ ", GUIDE.partition(f" {heading}\n")[2])[0]
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("group", GROUPS.values())
def test_every_check_is_explained_in_its_group(group: str) -> None:
    told = re.findall(r"`([^`]+)`", " ".join(first_cells(group)))
    others = {"extended-key-usage"}  # never anything but ok
    assert {*told} == {check for check in Check if group_of(check) == group} - others


WORDS = [cell.strip("`") for cell in first_cells("What the service says") if " " in cell]


@pytest.mark.parametrize("words", WORDS)
def test_every_text_of_the_service_has_a_hint_of_its_own(words: str) -> None:
    assert hint_for(AccessDenied, words) not in ("", hint_for(AccessDenied, "something new"))


def test_no_two_texts_are_answered_alike() -> None:
    hints = [hint_for(AccessDenied, words) for words in WORDS]
    assert len(set(hints)) == len(WORDS) == 11


def test_every_code_of_the_service_has_a_hint() -> None:
    for cell in [cell.strip("`") for cell in first_cells("What the service says")]:
        if cell.endswith("Exception"):
            assert hint_for(failure_class(400, cell), "")
