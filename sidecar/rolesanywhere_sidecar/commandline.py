"""The command line: a command, and settings from flags and environment together.

A flag wins over its variable. Flags are made from the settings themselves, so that none is
forgotten; some also have the name that AWS's credential helper gives them. Never reads the
environment itself, never opens a file.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, Final, NoReturn

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.settings import Settings, about, variable
from rolesanywhere_sidecar.version import PROGRAM, VERSION

COMMANDS: Final[Mapping[str, str]] = {
    "serve": "keep a session fresh, and serve it to AWS SDKs on this machine's loopback",
    "credential-process": "print one session, for credential_process in an AWS profile",
}

# aws_signing_helper's names where they differ from ours.
ALIASES: Final[Mapping[str, str]] = {
    "duration_seconds": "--session-duration",
    "pkcs11_module": "--pkcs11-lib",
    "private_key_password": "--pkcs8-password",
}

SERVE_ONLY: Final = frozenset(
    {"start_after", "token_file", "port", "probe_port", "hop_limit", "imds", "log_level"}
)

# aws_signing_helper's flags that have no place here, and what does their work.
ELSEWHERE: Final[Mapping[str, str]] = {
    "--no-verify-ssl": "TLS is always verified; name your authority with --ca-bundle",
    "--with-proxy": "leave it out: https_proxy and no_proxy are always honoured",
    "--debug": "leave it out: serve says more with --log-level debug",
    "--system-store-name": "there is no operating system store here; name a file",
    "--reuse-pin": "the PIN is read from --pin-file whenever the token asks",
    "--tpm-key-password": "keys in a TPM are not in this version yet; give a PEM file",
    "--no-tpm-key-password": "keys in a TPM are not in this version yet; give a PEM file",
}

_METAVARS: Final[Mapping[str, str]] = {
    "region": "REGION",
    "endpoint": "URL",
    "duration_seconds": "SECONDS",
    "role_session_name": "NAME",
    "port": "PORT",
    "probe_port": "PORT",
    "hop_limit": "HOPS",
    "private_key_password": "PASSWORD",
    "cert_selector": "SELECTOR",
    "use_latest_expiring_certificate": "{true,false}",
    "start_after": "TIME",
    "imds": "{true,false}",
    "log_level": "LEVEL",
}

_DESCRIPTION: Final = """\
Trade an X.509 certificate for temporary AWS credentials, through IAM Roles Anywhere.
Three ARNs (trust anchor, profile, role) and a certificate with its key are all it needs."""

_EPILOG: Final = """\
Each flag may be set in the environment instead, as ROLESANYWHERE_ and its name in capitals;
a flag wins. For example:

  {program} {command} \\
      --trust-anchor-arn arn:aws:rolesanywhere:eu-west-1:111122223333:trust-anchor/<uuid> \\
      --profile-arn arn:aws:rolesanywhere:eu-west-1:111122223333:profile/<uuid> \\
      --role-arn arn:aws:iam::111122223333:role/reports \\
      --certificate tls.crt --private-key tls.key"""


def parse(argv: Sequence[str], env: Mapping[str, str]) -> tuple[str, Settings]:
    """The command and the settings that ``argv`` (without the program's name) and ``env`` hold.

    Raises `InvalidSettings` with every mistake, each named as the user wrote it. For help and
    version it prints and raises SystemExit(0), as argparse does.
    """
    found, extra = _parser().parse_known_args(argv)
    if found.command is None:
        known = " or ".join((", ".join(COMMANDS), "version"))
        problem = f"a command is missing, expected {known} (see {PROGRAM} --help)"
        raise InvalidSettings((problem,))
    if found.command == "version":
        print(f"{PROGRAM} {VERSION}")
        raise SystemExit(0)
    given: dict[str, tuple[str, str]] = found.given
    told = {**env, **{variable(name): text for name, (_, text) in given.items()}}
    called = _namer(given, env)
    mistakes = list(_strangers(extra, found.command))
    if found.command == "serve":
        mistakes += _nobody_served(told, called)
    try:
        settings = Settings.from_env(told, called=called)
    except InvalidSettings as wrong:
        raise InvalidSettings((*mistakes, *wrong.mistakes)) from None
    if mistakes:
        raise InvalidSettings(tuple(mistakes))
    return found.command, settings


def flag(name: str) -> str:
    """The flag of the setting ``name``."""
    return "--" + name.replace("_", "-")


class _Parser(argparse.ArgumentParser):
    """Complains as everything here does, instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise InvalidSettings((f"{message} (see {self.prog} --help)",))


class _Given(argparse.Action):
    """Remembers the text and how its flag was written."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        earlier = getattr(namespace, "given", {})
        namespace.given = {**earlier, self.dest: (option_string, values)}


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description=_DESCRIPTION, allow_abbrev=False)
    parser.set_defaults(given={})
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command, purpose in COMMANDS.items():
        below = commands.add_parser(
            command,
            help=purpose,
            description=f"{purpose[0].upper()}{purpose[1:]}.",
            epilog=_EPILOG.format(program=PROGRAM, command=command),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for setting in fields(Settings):
            if command == "serve" or setting.name not in SERVE_ONLY:
                _add_flag(below, setting)
    commands.add_parser("version", help="print the version")
    return parser


def _add_flag(parser: argparse.ArgumentParser, setting: Field[Any]) -> None:
    names = [flag(setting.name)]
    if alias := ALIASES.get(setting.name):
        names.append(alias)
    default_metavar = "ARN" if setting.name.endswith("_arn") else "FILE"
    parser.add_argument(
        *names,
        dest=setting.name,
        action=_Given,
        default=argparse.SUPPRESS,
        metavar=_METAVARS.get(setting.name, default_metavar),
        help=f"{about(setting.name)}{_remark(setting)}".replace("%", "%%"),
    )


def _remark(setting: Field[Any]) -> str:
    if setting.default is MISSING:
        return " (required)"
    if setting.default is None:
        return ""
    shown = str(setting.default).lower() if setting.default in (True, False) else setting.default
    return f" (default: {shown})"


def _strangers(extra: Sequence[str], command: str) -> Iterator[str]:
    """A sentence for each word that is no flag here; what may be a flag's value is not repeated."""
    names = [word.partition("=")[0] for word in extra if word.startswith("-")]
    for name in names:
        yield f"{name}: {ELSEWHERE.get(name, f'is not a flag of {command} (see {command} --help)')}"
    if extra and not names:
        yield f"{extra[0]!r}: {command} takes flags only (see {command} --help)"


def _nobody_served(told: Mapping[str, str], called: Callable[[str], str]) -> Iterator[str]:
    """A sentence if both ways to credentials are off: IMDS, and the endpoint that wants a token."""
    if told.get(variable("imds")) == "false" and not told.get(variable("token_file")):
        yield (
            f"{called('imds')}: is false while {called('token_file')} is not set, so that nobody"
            " could be served; name a token file, or leave IMDS on"
        )


def _namer(given: Mapping[str, tuple[str, str]], env: Mapping[str, str]) -> Callable[[str], str]:
    def called(name: str) -> str:
        if name in given:
            return given[name][0]
        if env.get(variable(name)):
            return variable(name)
        return f"{flag(name)} (or {variable(name)})"

    return called
