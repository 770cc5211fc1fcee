"""The help pages, made from the same tables that the command line is read by.

Eighty columns, plain text. Never decides what a flag means.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Final

from rolesanywhere_contract.settings import Settings, about
from rolesanywhere_sidecar.commands.table import (
    COMMANDS,
    CONFIG,
    CONFIG_ABOUT,
    GROUPS,
    Command,
    Option,
    flag,
    flags_of,
    is_switch,
    metavar,
)
from rolesanywhere_sidecar.version import PROGRAM

WIDTH: Final = 80
# Where explanations begin, and how long a flag may be to stand in front of one.
_COLUMN: Final = 30

_OVERVIEW: Final = """\
Trade an X.509 certificate for temporary AWS credentials, through IAM Roles
Anywhere. Three ARNs (trust anchor, profile, role) and a certificate with its
key are all it needs.

Usage: {program} COMMAND [FLAG ...]

Commands:
{commands}

New here? Try these, in this order:
  {program} doctor --help              what is wrong, and what to do
  {program} serve --help               for programs that run on
  {program} credential-process --help  for the AWS CLI and scripts

The command lines of aws_signing_helper work here too, except --no-verify-ssl:
credentials are not taken from whoever answers."""

_PLACES: Final = f"""\
Each setting may stand in the environment instead, as ROLESANYWHERE_ and its name in capitals, or
in the file that {flag(CONFIG)} names. A flag wins over the environment, and that over the file."""


def overview() -> str:
    """What the program is for, and its commands."""
    rows = (_row(name, command.purpose, column=25) for name, command in COMMANDS.items())
    return _OVERVIEW.format(program=PROGRAM, commands="\n".join(rows))


def page(name: str) -> str:
    """All about one command."""
    command = COMMANDS[name]
    takes = " [FLAG ...]" if command.settings or command.options else ""
    parts = [
        f"Usage: {PROGRAM} {name}{takes}",
        _wrapped(f"{command.purpose[0].upper()}{command.purpose[1:]}."),
        *_groups(command),
    ]
    if command.needs is not None:
        parts.append(_wrapped(_PLACES))
    parts.append(f"Example:\n\n  {PROGRAM} {command.example}")
    parts += [command.after] if command.after else []
    return "\n\n".join(parts)


def _groups(command: Command) -> Iterator[str]:
    for title, names in GROUPS.items():
        rows = [_setting(name, command) for name in names if name in command.settings]
        if rows:
            yield "\n".join((f"{title}:", *rows))
    rows = [_option(name, option) for name, option in command.options.items()]
    if command.needs is not None:
        rows.append(_row(f"{flag(CONFIG)} FILE", CONFIG_ABOUT))
    if rows:
        yield "\n".join(("Besides:", *rows))


def _setting(name: str, command: Command) -> str:
    setting = next(one for one in fields(Settings) if one.name == name)
    value = "[true|false]" if is_switch(name) else metavar(name)
    remark = ""
    if name in command.stand_ins:
        remark = f" (default: that of {flag(command.stand_ins[name])})"
    elif setting.default is MISSING:
        remark = " (required)"
    elif setting.default is not None:
        remark = f" (default: {_shown(setting.default)})"
    return _row(f"{', '.join(flags_of(name))} {value}", f"{about(name)}{remark}")


def _option(name: str, option: Option) -> str:
    value = "" if option.is_switch else option.metavar or "|".join(option.choices)
    remark = "" if option.is_switch else f" (default: {option.default})"
    return _row(f"{flag(name)} {value}".rstrip(), f"{option.about}{remark}")


def _shown(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _row(left: str, right: str, *, column: int = _COLUMN) -> str:
    """``right`` beside ``left``, or below it where that is too long."""
    lines = textwrap.wrap(right, WIDTH - column, break_on_hyphens=False)
    indented = [f"{' ' * column}{line}" for line in lines]
    if len(left) + 4 > column:
        return "\n".join((f"  {left}", *indented))
    indented[0] = f"  {left}".ljust(column) + lines[0]
    return "\n".join(indented)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False)
