"""The operator's command line: ``rolesanywhere-operator webhook`` or ``controller``."""

import os
import sys

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_operator import app


def main() -> int:
    """Run the program that the command line names until it is told to stop, and then end with 0.

    2 when the command line or the settings are wrong, 1 for what else a user can mend.
    """
    arguments = sys.argv[1:]
    if len(arguments) != 1 or arguments[0] not in app.PROGRAMS:
        got = " ".join(arguments) or "nothing"
        expected = " or ".join(app.PROGRAMS)
        print(f"rolesanywhere-operator: got {got}, expected {expected}", file=sys.stderr)
        return 2
    try:
        app.run(arguments[0], os.environ)
    except InvalidSettings as wrong:
        for mistake in wrong.mistakes:
            print(f"rolesanywhere-operator: {mistake}", file=sys.stderr)
        return 2
    except (RolesAnywhereError, OSError) as problem:
        print(f"rolesanywhere-operator: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
