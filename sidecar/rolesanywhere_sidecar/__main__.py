"""The program: a command line in, an exit code out.

Imports a command's modules only when that command was asked for: credential-process starts anew
for each of an SDK's refreshes, and probe for each of a kubelet's.
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rolesanywhere_contract.settings import Settings
    from rolesanywhere_sidecar.commands.commandline import Invocation


def main() -> int:
    """Run the command that the arguments and the environment ask for; 2 when they are wrong."""
    if sys.argv[1:2] == ["probe"] and not {"-h", "--help"} & set(sys.argv):
        from rolesanywhere_sidecar.commands import probing

        return probing.main(sys.argv[2:], os.environ)
    return _main()


def _main() -> int:
    from rolesanywhere_contract.environment import InvalidSettings
    from rolesanywhere_sidecar.commands import commandline, output

    if len(sys.argv) == 1:
        from rolesanywhere_sidecar.commands import manual

        output.tell(f"a command is missing\n\n{manual.overview()}")
        return 2
    try:
        asked = commandline.parse(
            sys.argv[1:],
            os.environ,
            load=_load,
            show=lambda text: output.say(text, what="text"),
        )
    except InvalidSettings as wrong:
        for mistake in wrong.mistakes:
            output.tell(mistake)
        return 2
    except output.OutputClosed as closed:
        if closed.is_left:  # whoever read the help has seen enough
            return 0
        output.tell(f"{closed.code}: {closed}")
        return 1
    if asked.command != "serve":
        for warning in asked.warnings:
            output.tell(warning)
    return _run(asked)


def _run(asked: "Invocation") -> int:
    from rolesanywhere_contract.environment import InvalidSettings
    from rolesanywhere_contract.settings import IdentitySettings, Settings

    match asked.command, asked.settings:
        case "serve", Settings() as settings:
            return _serve(settings, asked.warnings)
        case "credential-process", Settings() as settings:
            from rolesanywhere_sidecar.commands import credential_process

            return credential_process.main(settings)
        case "update", Settings() as settings:
            from rolesanywhere_sidecar.commands import update

            return update.main(settings, asked.options, os.environ)
        case "read-certificate-data", IdentitySettings() as identity:
            from rolesanywhere_sidecar.commands import inspection

            return inspection.read_certificate_data(identity)
        case "sign-string", IdentitySettings() as identity:
            from rolesanywhere_sidecar.commands import inspection

            return inspection.sign_string(identity, asked.options)
        case "doctor", (Settings() | InvalidSettings()) as told:
            from rolesanywhere_sidecar import doctor

            return doctor.main(
                told,
                doctor.Options(
                    offline=asked.options["offline"] == "true",
                    output="json" if asked.options["output"] == "json" else "text",
                ),
            )
        case _:
            raise AssertionError(asked.command)


def _serve(settings: "Settings", warnings: tuple[str, ...]) -> int:
    import logging
    import signal

    from rolesanywhere_contract import logs

    # As a container's first process we would not even hear a SIGTERM before app listens for it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from rolesanywhere_sidecar import app

    logs.configure(settings.log_level, stream=sys.stderr)
    for warning in warnings:
        logging.getLogger(__name__).warning("settings questionable", extra={"problem": warning})
    return app.main(settings)


def _load(path: str) -> tuple[bytes, bool]:
    from pathlib import Path

    from rolesanywhere_sidecar import files

    others = 0o077
    content, status = files.read_with_status(Path(path))
    return content, not status.st_mode & others


if __name__ == "__main__":
    sys.exit(main())
