"""Text for people, 80 columns wide, and data for programs.

Never knows what it prints.
"""

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import yaml

COLUMNS: Final = 80
LABEL: Final = 10


def field(label: str, text: str, *, width: int = LABEL, hang: int = 0) -> str:
    """``label`` and its text in two columns; what cannot be broken stays whole.

    Where the text goes on it stands ``hang`` further in.
    """
    return textwrap.fill(
        text,
        COLUMNS,
        initial_indent=f"  {label:<{width}}  ",
        subsequent_indent=" " * (width + 4 + hang),
        break_long_words=False,
        break_on_hyphens=False,
    )


def listed(label: str, sentences: Iterable[str]) -> Iterator[str]:
    """Sentences under one ``label``, each from a line of its own on."""
    for number, sentence in enumerate(sentences):
        yield field("" if number else label, sentence, hang=2)


def paragraph(text: str) -> str:
    """``text`` on lines of at most ``COLUMNS``, but for what cannot be broken."""
    return textwrap.fill(text, COLUMNS, break_long_words=False, break_on_hyphens=False)


def as_json(value: object) -> str:
    """``value`` as JSON that people can read."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def as_yaml(values: Sequence[object]) -> str:
    """``values`` as YAML, a document each."""
    return yaml.dump_all(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=COLUMNS)


class _Dumper(yaml.SafeDumper):
    """Without anchors: kubectl reads them, people do not."""

    def ignore_aliases(self, data: object) -> bool:
        return True
