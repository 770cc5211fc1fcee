"""The config file: settings by their names, in TOML.

Turns what the file holds into texts as the environment would hold them, and finds every mistake
at once. Never repeats a value, which may be a password; never opens the file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import datetime
from typing import Any, Final

from rolesanywhere_contract.settings import Settings

_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false without quotes",
    int: "a whole number without quotes",
    str: "a text in quotes",
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the file ``where`` holds: ``texts`` by setting, and a sentence for each mistake."""

    where: str = ""
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    mistakes: tuple[str, ...] = ()


def read(content: bytes, *, where: str) -> Configuration:
    """The settings in ``content``, the file ``where``."""
    import tomllib

    try:
        document = tomllib.loads(content.decode())
    except tomllib.TOMLDecodeError as wrong:
        return Configuration(where, mistakes=(f"{where}: is not TOML: {wrong}",))
    except (UnicodeDecodeError, RecursionError):
        return Configuration(where, mistakes=(f"{where}: is not TOML, which is text in UTF-8",))
    known = {setting.name: setting for setting in fields(Settings)}
    wrong_ones = tuple(_mistakes(document, known, where=where))
    right = {
        name: _text(value)
        for name, value in document.items()
        if name in known and _fits(known[name], value)
    }
    return Configuration(where, right, wrong_ones)


def _mistakes(
    document: Mapping[str, Any], known: Mapping[str, Field[Any]], *, where: str
) -> Iterator[str]:
    for name, value in document.items():
        if name not in known:
            yield f"{where}: {name}: is not a setting{_meant(name, known)}"
        elif not _fits(known[name], value):
            yield f"{where}: {name}: is not {_KINDS[_kind(known[name])]}"


def _kind(setting: Field[Any]) -> type:
    return setting.type if setting.type in (bool, int) else str


def _fits(setting: Field[Any], value: object) -> bool:
    if isinstance(value, datetime):  # TOML has times of its own
        return setting.type == datetime | None
    # No environment variable could hold a null, so no parser of a setting looks for one.
    return type(value) is _kind(setting) and not (isinstance(value, str) and "\0" in value)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meant(name: str, known: Mapping[str, Field[Any]]) -> str:
    import difflib

    close = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
