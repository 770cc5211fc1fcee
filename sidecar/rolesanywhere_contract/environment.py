"""Settings as dataclasses, each of whose fields says how it is read from the environment.

`described` puts that into a field, `read` makes values of variables and finds every mistake at
once; the parsers are those that more than one program needs. Never reads the environment itself:
that comes in by argument.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field
from typing import Any, Final

from rolesanywhere_contract.errors import RolesAnywhereError

LOG_LEVELS: Final = ("debug", "info", "warning", "error")


class InvalidSettings(RolesAnywhereError):
    """One or more settings are wrong; ``mistakes`` has a sentence for each.

    ``values`` are those that could be read all the same, by field name, for who wants to look
    further. They are no part of any text: one may be a password.
    """

    code = "InvalidSettings"

    def __init__(self, mistakes: Iterable[str], *, values: Mapping[str, Any] | None = None) -> None:
        self.mistakes = tuple(mistakes)
        self.values: Mapping[str, Any] = values or {}
        super().__init__("; ".join(self.mistakes))


def described(
    parse: Callable[[str], object], about: str, *, variable: str | None = None
) -> Mapping[str, Any]:
    """The metadata of a field that ``parse`` reads and a few words tell ``about``.

    ``parse`` raises `ValueError` or `RolesAnywhereError` with what was got and expected.
    ``variable`` is for a setting whose variable has a name of its own.
    """
    return {"parse": parse, "about": about, "variable": variable}


def variable(setting: Field[Any], *, prefix: str) -> str:
    """The environment variable of ``setting``: ``prefix`` and its name, unless it has its own."""
    return setting.metadata["variable"] or prefix + setting.name.upper()


def about(setting: Field[Any]) -> str:
    """What ``setting`` is for, in a few words."""
    return str(setting.metadata["about"])


def read(
    settings: Iterable[Field[Any]],
    env: Mapping[str, str],
    *,
    prefix: str,
    called: Callable[[str], str] | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """The values that ``env`` holds by field name, and a sentence for each mistake.

    An empty variable counts as unset, and what stands at its default is left out. ``called`` tells
    how the user wrote a setting where that was not its variable.
    """
    values: dict[str, Any] = {}
    mistakes: list[str] = []
    for setting in settings:
        name = variable(setting, prefix=prefix)
        try:
            values |= _value(setting, env.get(name, ""))
        except (ValueError, RolesAnywhereError) as wrong:
            mistakes.append(f"{called(setting.name) if called else name}: {wrong}")
    return values, mistakes


def text(given: str) -> str:
    """Any text, as it is."""
    return given


def whole_number(what: str, within: range) -> Callable[[str], int]:
    """A parser of ``what``, such as "a port", which is a number ``within`` limits."""

    def parse(given: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", given) or int(given) not in within:
            raise ValueError(f"{given!r} is not {what}, expected {within[0]} to {within[-1]}")
        return int(given)

    return parse


def log_level(given: str) -> str:
    """One of ``LOG_LEVELS``."""
    if given not in LOG_LEVELS:
        raise ValueError(f"{given!r} is not a log level, expected one of {', '.join(LOG_LEVELS)}")
    return given


def _value(setting: Field[Any], given: str) -> dict[str, Any]:
    if given:
        return {setting.name: setting.metadata["parse"](given)}
    if setting.default is MISSING:
        raise ValueError(f"is not set, expected the {about(setting)}")
    return {}
