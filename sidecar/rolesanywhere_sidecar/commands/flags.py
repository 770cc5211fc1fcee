"""The words of a command line, taken apart: which flag said what.

Knows no setting and judges no value. What may be a flag's value is never repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rolesanywhere_sidecar.commands.table import REFUSED


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
    texts: dict[str, tuple[str, str]] = {}
    mistakes: list[str] = []
    strays: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            strays.append(word)
            continue
        flag, joined, text = word.partition("=")
        stands_alone = not joined and (not left or left[0].startswith("-"))
        if not joined and not stands_alone:
            text = left.pop(0)
        if flag in switches:
            texts[switches[flag]] = (flag, "true" if stands_alone else text)
        elif flag not in values:
            strange = f"is not a flag of {command} (see {command} --help)"
            mistakes.append(f"{flag}: {REFUSED.get(flag, strange)}")
        elif stands_alone:
            mistakes.append(f"{flag}: expected a value after it (see {command} --help)")
        else:
            texts[values[flag]] = (flag, text)
    # Beside a flag that is none of ours, a stray word may be its secret.
    if strays and not mistakes:
        mistakes.append(f"{strays[0]!r}: {command} takes flags only (see {command} --help)")
    return Given(texts, tuple(mistakes))
