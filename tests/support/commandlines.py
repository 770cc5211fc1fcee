"""A command line read without a process: what it asks for, where no config file exists."""

import errno
import os
from collections.abc import Mapping, Sequence

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.commands.commandline import Invocation, parse


def no_file(path: str) -> tuple[bytes, bool]:
    """A machine without any file."""
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def asked(argv: Sequence[str], env: Mapping[str, str]) -> Invocation:
    """What ``argv`` and ``env`` ask for."""
    return parse(argv, env, load=no_file)


def settings_of(argv: Sequence[str], env: Mapping[str, str]) -> Settings:
    """The settings of a command that needs all of them."""
    settings = asked(argv, env).settings
    assert isinstance(settings, Settings)
    return settings
