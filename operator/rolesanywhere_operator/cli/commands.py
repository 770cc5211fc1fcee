"""The commands by name, and the one place where they speak.

Never decides: an `Answer` says what goes where.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_operator.cli import answers, explain, sources, trustpolicy
from rolesanywhere_operator.cli.answers import Answer
from rolesanywhere_operator.cli.sources import Surroundings


@dataclass(frozen=True, slots=True)
class Command:
    """How a command is described, what flags it has, and how it finds its answer."""

    purpose: str
    epilog: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    answer: Callable[[argparse.Namespace, Surroundings], Answer]


COMMANDS: Final[Mapping[str, Command]] = {
    "explain": Command(explain.PURPOSE, explain.EPILOG, explain.add_arguments, explain.answer),
    "trust-policy": Command(
        trustpolicy.PURPOSE, trustpolicy.EPILOG, trustpolicy.add_arguments, trustpolicy.answer
    ),
}


def run(name: str, arguments: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Say what the command ``name`` finds out, and return how the process ends."""
    try:
        answer = COMMANDS[name].answer(arguments, sources.surroundings(env))
    except (RolesAnywhereError, OSError) as problem:
        print(f"rolesanywhere-operator: {problem}", file=sys.stderr)
        return answers.NO_ANSWER
    try:
        sys.stdout.write(answer.output)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has seen enough; the interpreter must not flush once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.stderr.write(answer.remarks)
    return answer.code
