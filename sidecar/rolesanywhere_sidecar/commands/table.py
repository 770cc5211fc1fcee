"""The commands as data: what each is for, which settings and flags of its own it takes.

`commandline` reads flags by this table, `manual` explains them by it. Never does anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from rolesanywhere_contract.settings import IdentitySettings, SessionSettings, Settings

TRUE_OR_FALSE: Final = ("true", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A flag of one command that is no setting; without ``metavar`` it has ``choices`` alone.

    ``pattern`` is what its value is like, from beginning to end.
    """

    about: str
    default: str
    metavar: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ".*"

    @property
    def is_switch(self) -> bool:
        """Whether it may stand without a value."""
        return self.choices == TRUE_OR_FALSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    ``settings`` are names, and ``needs`` is the class that they make, if any; a setting that is
    not given may have another's value as ``stand_ins`` say. ``takes_in_vain`` are other commands'
    options, and whether each is a switch: a user may have them on the line that he asks about.
    """

    purpose: str
    settings: frozenset[str] = frozenset()
    needs: type[IdentitySettings] | None = None
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)
    takes_in_vain: Mapping[str, bool] = field(default_factory=dict)
    example: str
    after: str = ""


def _switch(about: str) -> Option:
    return Option(about=about, choices=TRUE_OR_FALSE, default="false")


def _names(*classes: type[object]) -> frozenset[str]:
    return frozenset(setting.name for one in classes for setting in fields(one))  # type: ignore[arg-type]  # each is a dataclass


_IDENTITY: Final = _names(IdentitySettings)
_SESSION: Final = _IDENTITY | _names(SessionSettings)

_ARNS: Final = """\
    --trust-anchor-arn \\
      arn:aws:rolesanywhere:eu-west-1:111122223333:trust-anchor/UUID \\
    --profile-arn arn:aws:rolesanywhere:eu-west-1:111122223333:profile/UUID \\
    --role-arn arn:aws:iam::111122223333:role/reports \\
    --certificate tls.crt --private-key tls.key"""

COMMANDS: Final[Mapping[str, Command]] = {
    "serve": Command(
        purpose="keep a session fresh, and serve it to AWS SDKs on this machine's loopback",
        settings=_names(Settings),
        needs=Settings,
        example=f"serve \\\n{_ARNS}",
        after="""\
SDKs find it as instance metadata where AWS_EC2_METADATA_SERVICE_ENDPOINT is
http://127.0.0.1:9911/, and as container credentials where --token-file is set.""",
    ),
    "credential-process": Command(
        purpose="print one session, for credential_process in an AWS profile",
        settings=_SESSION | {"session_file"},
        needs=Settings,
        example=f"credential-process \\\n    --session-file ~/.aws/reports.session \\\n{_ARNS}",
        after="""\
In ~/.aws/config it stands on one line, with whole paths, after
credential_process = below [profile reports]. With --session-file, commands
that run at once or soon after make one CreateSession call.""",
    ),
    "update": Command(
        purpose="keep a profile of the shared credentials file fresh",
        settings=_SESSION,
        needs=Settings,
        options={
            "profile": Option(
                about="profile to write",
                metavar="PROFILE",
                default="default",
                # What a section's name can be: brackets and control characters would end it.
                pattern=r"[^\[\]\x00-\x20\x7f]+( +[^\[\]\x00-\x20\x7f]+)*",
            ),
            "once": _switch("write one session and end"),
        },
        example=f"update --profile reports \\\n{_ARNS}",
        after="""\
The file is the one that AWS_SHARED_CREDENTIALS_FILE names, or else
~/.aws/credentials. Every other line of it stays as it is.""",
    ),
    "read-certificate-data": Command(
        purpose="print what a certificate file, a folder or tokens hold",
        settings=_IDENTITY - {"private_key", "intermediates"},
        needs=IdentitySettings,
        example="read-certificate-data --certificate tls.crt",
        after="""\
The serial number is in decimal, as CloudTrail shows it; openssl and
--cert-selector have it in hexadecimal. "--certificate pkcs11:" lists what
tokens hold, each certificate with the URI that names it.""",
    ),
    "sign-string": Command(
        purpose="sign a fixed text, to see whether the private key works",
        settings=_IDENTITY,
        needs=IdentitySettings,
        stand_ins={"certificate": "private_key"},
        options={
            "digest": Option(
                about="hash to sign", choices=("SHA256", "SHA384", "SHA512"), default="SHA256"
            ),
            "format": Option(
                about="quoted hexadecimal, hexadecimal, or bytes",
                choices=("json", "text", "bin"),
                default="json",
            ),
        },
        example="sign-string --private-key tls.key --format text",
        after="AWS is not asked. doctor checks more, and says what to do.",
    ),
    "doctor": Command(
        purpose="check settings, certificate, clock, network and AWS, and say what to do",
        settings=_names(Settings),
        needs=Settings,
        takes_in_vain={"profile": False, "once": True},
        options={
            "offline": _switch("leave network and AWS alone"),
            "output": Option(
                about="for people or for programs", choices=("text", "json"), default="text"
            ),
        },
        example=f"doctor --offline \\\n{_ARNS}",
        after="It ends with 0 when nothing failed. Send its output along when you ask for help.",
    ),
    "probe": Command(
        purpose="ask a running serve whether it is ready, for a kubelet's exec probe",
        settings=frozenset({"probe_port"}),
        options={
            "wait": Option(about="how long to wait for readiness", metavar="SECONDS", default="0")
        },
        example="probe --probe-port 9912 --wait 9",
        after="It prints one sentence, and ends with 0 when there are credentials to serve.",
    ),
    "version": Command(
        purpose="print the version",
        example="version",
    ),
}

# What people look for, and the settings that answer, in the order of the help page.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Who you are": (
        "certificate", "private_key", "private_key_password_file", "private_key_password",
        "intermediates", "cert_selector", "use_latest_expiring_certificate",
        "pkcs11_module", "pin_file", "pin_latch_file",
    ),
    "What to assume": (
        "trust_anchor_arn", "profile_arn", "role_arn", "duration_seconds", "role_session_name",
    ),
    "How to reach AWS": ("region", "endpoint", "ca_bundle"),
    "Where it listens": ("port", "probe_port", "hop_limit", "imds"),
    "What it keeps": ("session_file", "token_file"),
    "How it runs": ("start_after", "log_level"),
}  # fmt: skip

# aws_signing_helper's names where they differ from ours.
ALIASES: Final[Mapping[str, str]] = {
    "duration_seconds": "--session-duration",
    "pkcs11_module": "--pkcs11-lib",
    "private_key_password": "--pkcs8-password",
}

# Its flags that are taken, and change nothing here, and why.
IDLE: Final[Mapping[str, str]] = {
    "--with-proxy": "https_proxy and no_proxy are always honoured",
    "--debug": "serve says more, as with --log-level debug; the others have no more to say",
    "--reuse-pin": "a key that asks for the PIN at each signature is given it again",
    "--no-tpm-key-password": "a TPM's keys are used by PKCS#11, whose PIN is in --pin-file",
}

# Its flags of keys that are not in files, and have a value; with a key in a file they say nothing.
IDLE_VALUES: Final = ("--tpm-key-password",)

# Settings whose text goes on in the next words, where these begin so: AWS's helper documents
# "--cert-selector Key=x509Subject,Value=... Key=x509Issuer,Value=..." without quotes.
CONTINUED: Final[Mapping[str, str]] = {"cert_selector": "Key="}

# Its flags that are refused where they are true or have a value, and what does their work.
REFUSED: Final[Mapping[str, str]] = {
    "--no-verify-ssl": "TLS is always verified: credentials are not taken from whoever answers;"
    " name your authority with --ca-bundle",
    "--system-store-name": "there is no operating system store here; name a file",
}
REFUSED_SWITCHES: Final = ("--no-verify-ssl",)

METAVARS: Final[Mapping[str, str]] = {
    "region": "REGION",
    "endpoint": "URL",
    "duration_seconds": "SECONDS",
    "role_session_name": "NAME",
    "port": "PORT",
    "probe_port": "PORT",
    "hop_limit": "HOPS",
    "private_key_password": "PASSWORD",
    "cert_selector": "SELECTOR",
    "start_after": "TIME",
    "log_level": "LEVEL",
}

CONFIG: Final = "config"
CONFIG_ABOUT: Final = "TOML file of settings, by their names with underscores"


def flag(name: str) -> str:
    """The flag of the setting or option ``name``."""
    return "--" + name.replace("_", "-")


def flags_of(name: str) -> tuple[str, ...]:
    """Every flag of the setting ``name``: ours, and AWS's helper's where that differs."""
    return (flag(name), *filter(None, (ALIASES.get(name),)))


def is_switch(name: str) -> bool:
    """Whether the setting ``name`` is true or false."""
    return next(setting for setting in fields(Settings) if setting.name == name).type is bool


def metavar(name: str) -> str:
    """What stands for the value of the setting ``name`` in its help."""
    return METAVARS.get(name, "ARN" if name.endswith("_arn") else "FILE")
