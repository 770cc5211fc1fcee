"""The program: a command line in, an exit code out.

Imports a command's modules only when that command was asked for: credential-process starts anew
for each of an SDK's refreshes, and probe for each of a kubelet's.
"""

import os
import sys


def main() -> int:
    """Run the command that the arguments and the environment ask for; 2 when they are wrong."""
    if sys.argv[1:2] == ["probe"] and not {"-h", "--help"} & set(sys.argv):
        from rolesanywhere_sidecar import probing

        return probing.main(sys.argv[2:], os.environ)
    return _main()


def _main() -> int:
    import signal

    from rolesanywhere_contract.environment import InvalidSettings
    from rolesanywhere_sidecar import commandline
    from rolesanywhere_sidecar.version import PROGRAM

    try:
        command, settings = commandline.parse(sys.argv[1:], os.environ)
    except InvalidSettings as wrong:
        for mistake in wrong.mistakes:
            print(f"{PROGRAM}: {mistake}", file=sys.stderr)
        return 2
    if command == "credential-process":
        from rolesanywhere_sidecar import process

        return process.main(settings)
    # As a container's first process we would not even hear a SIGTERM before app listens for it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from rolesanywhere_sidecar import app

    return app.main(settings)


if __name__ == "__main__":
    sys.exit(main())
