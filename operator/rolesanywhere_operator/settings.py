"""What the operator's processes are told, read from the environment once.

Never opens a file: whether a path leads anywhere is found out by who needs it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import LOG_LEVELS

PREFIX: Final = "ROLESANYWHERE_OPERATOR_"

# Shorter, and one slow call to the API server costs the lead; longer, and an outage of the leader
# lasts.
LEASE_SECONDS: Final = range(3, 301)


class InvalidOperatorSettings(RolesAnywhereError):
    """One or more settings are wrong; ``mistakes`` has a sentence for each."""

    code = "InvalidOperatorSettings"

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


def _text(text: str) -> str:
    return text


def _log_level(text: str) -> str:
    if text not in LOG_LEVELS:
        raise ValueError(f"{text!r} is not a log level, expected one of {', '.join(LOG_LEVELS)}")
    return text


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise ValueError(f"{text!r} is not a port, expected 0 to 65535")
    return int(text)


def _lease_duration(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) not in LEASE_SECONDS:
        raise ValueError(
            f"{text!r} is out of range, expected {LEASE_SECONDS[0]} to {LEASE_SECONDS[-1]} seconds"
        )
    return int(text)


def _meta(
    parse: Callable[[str], object], about: str, *, name: str | None = None
) -> Mapping[str, Any]:
    return {"parse": parse, "about": about, "variable": name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every process of the operator is told. Port 0 means any that is free."""

    log_level: str = field(
        default="info", metadata=_meta(_log_level, "debug, info, warning or error")
    )
    kubeconfig: Path | None = field(
        default=None,
        metadata=_meta(
            Path, "kubeconfig file (default: the pod's own ServiceAccount)", name="KUBECONFIG"
        ),
    )
    address: str = field(
        default="0.0.0.0",  # noqa: S104 - the API server and the kubelet come from outside the pod
        metadata=_meta(_text, "address that all ports are opened on"),
    )
    probe_port: int = field(
        default=8081, metadata=_meta(_port, "plain HTTP port for /livez and /readyz")
    )

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """The settings that ``env`` holds; an empty value counts as unset.

        Raises `InvalidOperatorSettings` that names every mistake at once.
        """
        values: dict[str, Any] = {}
        mistakes: list[str] = []
        for setting in fields(cls):
            name = variable(setting)
            try:
                values |= _read(setting, env.get(name, ""))
            except ValueError as wrong:
                mistakes.append(f"{name}: {wrong}")
        if mistakes:
            raise InvalidOperatorSettings(tuple(mistakes))
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings(Settings):
    """What the webhook is told as well."""

    sidecar_image: str = field(
        metadata=_meta(_text, "image of the sidecar, where a binding names none")
    )
    port: int = field(default=9443, metadata=_meta(_port, "HTTPS port for admission reviews"))
    certificate: Path = field(
        default=Path("/var/run/secrets/rolesanywhere-webhook/tls.crt"),
        metadata=_meta(Path, "PEM file with the serving certificate and its chain"),
    )
    private_key: Path = field(
        default=Path("/var/run/secrets/rolesanywhere-webhook/tls.key"),
        metadata=_meta(Path, "PEM file with the serving certificate's key"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings(Settings):
    """What the controller is told as well."""

    namespace: str = field(metadata=_meta(_text, "namespace of the Lease that elects a leader"))
    lease_name: str = field(
        default="rolesanywhere-controller", metadata=_meta(_text, "name of that Lease")
    )
    lease_duration_seconds: int = field(
        default=15,
        metadata=_meta(_lease_duration, "seconds without a sign of the leader until another leads"),
    )


def variable(setting: Field[Any]) -> str:
    """The environment variable of a setting."""
    return setting.metadata["variable"] or PREFIX + setting.name.upper()


def _read(setting: Field[Any], text: str) -> dict[str, Any]:
    if text:
        return {setting.name: setting.metadata["parse"](text)}
    if setting.default is MISSING:
        raise ValueError(f"is not set, expected the {setting.metadata['about']}")
    return {}
