"""The text of a shared credentials file, with one profile's credentials set and all else kept.

Which lines are the profile's is decided as Python's configparser decides it, by which boto3 and
the AWS CLI read the file: a line that is indented deeper than the key above it belongs to that
key. Never opens the file.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_HEADER: Final = re.compile(r"\[(?P<name>.+)\]")
_KEY: Final = re.compile(r"(?P<name>.*?)\s*[=:]\s*")
_COMMENTS: Final = ("#", ";")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line as it stands, and what it means: in which section, of which key, how deep."""

    text: str
    section: str | None = None
    key: str | None = None  # in lower case; None for a header, a comment, a blank line, nonsense
    is_header: bool = False
    continues: bool = False
    indent: str | None = None  # None for a comment and a blank line, which end nothing

    @property
    def end(self) -> str:
        return self.text[len(self.text.rstrip("\r\n")) :]


def with_values(text: str, section: str, values: Mapping[str, str]) -> str:
    """``text`` in which ``section`` has ``values``, whose names are in lower case.

    Every other line stays as it is, to the byte. A name that was there keeps its spelling, its
    place and its line's end; of one that was there twice the first stays. What is new comes after
    the section's header, or in a section of its own at the end.
    """
    lines = list(_understood(text))
    if not any(line.is_header and line.section == section for line in lines):
        return text + _new_section(lines, section, values)
    kept = list(_rewritten(lines, section, values))
    missing = values.keys() - {line.key for line in kept if line.section == section}
    header = next(at for at, line in enumerate(kept) if line.is_header and line.section == section)
    new = {name: value for name, value in values.items() if name in missing}
    kept[header : header + 1] = _extended(kept[header:], new)
    return "".join(line.text for line in kept)


def _understood(text: str) -> Iterator[_Line]:
    section: str | None = None
    key: str | None = None
    depth = 0
    for raw in _LINE.findall(text):
        content = raw.strip()
        if not content or content.startswith(_COMMENTS):
            yield _Line(text=raw, section=section)
            continue
        indent = raw[: len(raw) - len(raw.lstrip())]
        if section is not None and key is not None and len(indent) > depth:
            yield _Line(text=raw, section=section, key=key, continues=True, indent=indent)
            continue
        depth = len(indent)
        if header := _HEADER.match(content):
            section, key = header["name"], None
            yield _Line(text=raw, section=section, is_header=True, indent=indent)
            continue
        found = _KEY.match(content) if section is not None else None
        # What is no setting makes the file unreadable; what follows it is not ours to drop.
        key = (found["name"].lower() or None) if found else None
        yield _Line(text=raw, section=section, key=key, indent=indent)


def _rewritten(lines: Sequence[_Line], section: str, values: Mapping[str, str]) -> Iterator[_Line]:
    """All lines, of which those that set one of ``values`` in ``section`` set it anew, once."""
    done: set[str] = set()
    for line in lines:
        if line.section != section or line.key is None or line.key not in values:
            yield line
        elif not line.continues and line.key not in done:
            done.add(line.key)
            upto = _KEY.match(line.text)
            name = upto[0].rstrip("\r\n") if upto else ""
            yield replace(line, text=f"{name}{values[line.key]}{line.end}")


def _extended(lines: Sequence[_Line], values: Mapping[str, str]) -> Iterator[_Line]:
    """The header that ``lines`` begin with, and ``values`` below it.

    As deep as the line that comes next: were they less so, it would become part of the last.
    """
    header, *below = lines
    indent = next((line.indent for line in below if line.indent is not None), "")
    end = header.end or "\n"
    yield replace(header, text=header.text.rstrip("\r\n") + end) if values else header
    for name, value in values.items():
        yield _Line(text=f"{indent}{name} = {value}{end}", section=header.section, key=name)


def _new_section(lines: Sequence[_Line], section: str, values: Mapping[str, str]) -> str:
    """A section with ``values``, and what sets it off from ``lines`` above it."""
    end = next((line.end for line in lines if line.end), "\n")
    gap = "" if not lines or not lines[-1].text.strip() else end
    unended = end if lines and not lines[-1].end else ""
    settings = (f"{name} = {value}" for name, value in values.items())
    return unended + gap + end.join((f"[{section}]", *settings, ""))
