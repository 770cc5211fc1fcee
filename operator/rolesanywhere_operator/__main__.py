"""The operator's command line: its two programs, and commands that answer a question.

A program loads nothing of the commands: it runs for months, and pays for what it holds.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_operator import app

if TYPE_CHECKING:
    from rolesanywhere_operator.cli.commands import Command

_EPILOG = """\
webhook and controller are told everything by the environment: KUBECONFIG (in a
pod: nothing) and variables that begin with ROLESANYWHERE_OPERATOR_. Start one
without them, and it says which it lacks."""


def main() -> int:
    """Run the program that the command line names until it is told to stop, and then end with 0.

    2 when the command line or the settings are wrong, 1 for what else a user can mend. A command
    ends as its help says.
    """
    if not app.PROGRAMS.keys() & sys.argv[1:2]:
        return _command()
    program: str = _parser({}).parse_args().program
    try:
        app.run(program, os.environ)
    except InvalidSettings as wrong:
        for mistake in wrong.mistakes:
            print(f"rolesanywhere-operator: {mistake}", file=sys.stderr)
        return 2
    except (RolesAnywhereError, OSError) as problem:
        print(f"rolesanywhere-operator: {problem}", file=sys.stderr)
        return 1
    return 0


def _command() -> int:
    """What the command line names if it is no program: a command, a mistake, or help."""
    from rolesanywhere_operator.cli import commands

    arguments = _parser(commands.COMMANDS).parse_args()
    return commands.run(arguments.program, arguments, os.environ)


def _parser(commands: Mapping[str, "Command"]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rolesanywhere-operator",
        description="The operator of AWS IAM Roles Anywhere bindings: programs and commands.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    programs = parser.add_subparsers(dest="program", required=True, metavar="PROGRAM")
    for name, purpose in app.PROGRAMS.items():
        programs.add_parser(name, help=purpose, description=purpose, epilog=_EPILOG)
    for name, command in commands.items():
        command.add_arguments(
            programs.add_parser(
                name,
                help=command.purpose,
                description=command.purpose,
                epilog=command.epilog,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
