"""The words of a command line, taken apart: which flag said what.

Knows no setting and judges no value. What may be a flag's value is never repeated: a word that has
no place is told by its number.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rolesanywhere_sidecar.commands.table import CONTINUED, REFUSED

# What looks like a flag's name, mistyped; of anything else nobody can tell what it is.
_A_FLAG: Final = re.compile(r"--[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Given:
    """By name, the flag as it was written and its text; and a sentence for each mistake."""

    texts: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    mistakes: tuple[str, ...] = ()


def read(
    words: Sequence[str], *, values: Mapping[str, str], switches: Mapping[str, str], command: str
) -> Given:
    """What ``words``, those after ``command``, say.

    ``values`` are flags that take a value and ``switches`` those that may stand alone, which means
    true; both lead to the names that `Given` goes by. A flag that comes twice counts as it comes
    last.
    """
    see = f"(see {command} --help)"
    texts: dict[str, tuple[str, str]] = {}
    mistakes: list[str] = []
    strays: list[int] = []
    left = list(enumerate(words, 1))
    while left:
        place, word = left.pop(0)
        if not word.startswith("-"):
            strays.append(place)
            continue
        flag, joined, text = word.partition("=")
        stands_alone = not joined and (not left or left[0][1].startswith("-"))
        if not joined and not stands_alone:
            text = left.pop(0)[1]
        if flag in switches:
            texts[switches[flag]] = (flag, "true" if stands_alone else text)
        elif flag not in values:
            mistakes.append(_strange(flag, place, command=command))
        elif stands_alone:
            mistakes.append(
                f"{flag}: expected a value after it; one that begins with a dash is joined to the"
                f" flag by = {see}"
            )
            if left and left[0][1].partition("=")[0] not in (*values, *switches):
                left.pop(0)  # meant as its value, a password maybe
        else:
            more = CONTINUED.get(values[flag])
            while more and left and left[0][1].startswith(more):
                text = f"{text} {left.pop(0)[1]}"
            texts[values[flag]] = (flag, text)
    # Beside a flag that is none of ours, a stray word may be its value.
    if strays and not mistakes:
        mistakes.append(f"word {strays[0]} after {command}: {command} takes flags only {see}")
    return Given(texts, tuple(mistakes))


def _strange(flag: str, place: int, *, command: str) -> str:
    if flag in REFUSED:
        return f"{flag}: {REFUSED[flag]}"
    called = flag if _A_FLAG.fullmatch(flag) else f"word {place} after {command}"
    return f"{called}: is not a flag of {command} (see {command} --help)"
