"""The operator's command line: its two programs, and commands that answer a question."""

import argparse
import os
import sys

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_operator import app
from rolesanywhere_operator.cli import commands

_EPILOG = """\
webhook and controller are told everything by the environment: KUBECONFIG (in a
pod: nothing) and variables that begin with ROLESANYWHERE_OPERATOR_. Start one
without them, and it says which it lacks."""


def main() -> int:
    """Run the program that the command line names until it is told to stop, and then end with 0.

    2 when the command line or the settings are wrong, 1 for what else a user can mend. A command
    ends as its help says.
    """
    arguments = _parser().parse_args()
    program: str = arguments.program
    if program in commands.COMMANDS:
        return commands.run(program, arguments, os.environ)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rolesanywhere-operator",
        description="The operator of AWS IAM Roles Anywhere bindings: programs and commands.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    programs = parser.add_subparsers(dest="program", required=True, metavar="PROGRAM")
    for name, purpose in app.PROGRAMS.items():
        programs.add_parser(name, help=purpose, description=purpose, epilog=_EPILOG)
    for name, command in commands.COMMANDS.items():
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
