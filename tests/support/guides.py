"""Guides of ``docs`` as a reader follows them: their blocks of shell, in order.

Runs none of them.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True, slots=True)
class Block:
    """A block of shell, and the heading that it stands under."""

    heading: str
    shell: str


def blocks(guide: str) -> list[Block]:
    """Every block of shell of ``docs/guide``, in order."""
    return list(_blocks((DOCS / guide).read_text()))


def _blocks(text: str) -> Iterator[Block]:
    heading = ""
    for found in re.finditer(
        r"^#+ (?P<heading>[^\n]+)$|^```sh\n(?P<shell>.*?)^```$", text, re.MULTILINE | re.DOTALL
    ):
        if found["heading"] is None:
            yield Block(heading, found["shell"])
        else:
            heading = found["heading"]


def without(given: Collection[Block], *headings: str) -> list[Block]:
    """``given`` but for the blocks under ``headings``, each of which has one."""
    known = {block.heading for block in given}
    assert known.issuperset(headings), f"no blocks under {set(headings) - known}"
    return [block for block in given if block.heading not in headings]
