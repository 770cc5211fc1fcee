"""The flags that say how the webhook was set up to make sidecars, where bindings say nothing.

Never asks the webhook: without a flag its variables count, which are there in its own pod, and
without those what the chart comes with.
"""

import argparse
from dataclasses import Field, fields
from typing import Any, Final

from rolesanywhere_contract import environment
from rolesanywhere_operator.cli.answers import UnusableInput
from rolesanywhere_operator.cli.sources import Surroundings
from rolesanywhere_operator.domain.sidecardefaults import SidecarDefaults
from rolesanywhere_operator.settings import PREFIX, WebhookSettings, variable

_PREFIX: Final = "sidecar_"
_SETTINGS: Final = [one for one in fields(WebhookSettings) if one.name.startswith(_PREFIX)]
_METAVARS: Final = {
    "sidecar_image": "IMAGE",
    "sidecar_pkcs11_image": "IMAGE",
    "sidecar_resources": "JSON",
    "sidecar_log_level": "LEVEL",
    "sidecar_proxy": "JSON",
    "sidecar_ca_bundle": "JSON",
}
# What the chart names them, where nobody says more.
_IMAGES: Final = {
    "sidecar_image": "rolesanywhere-sidecar",
    "sidecar_pkcs11_image": "rolesanywhere-sidecar-pkcs11",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for each."""
    for one in _SETTINGS:
        otherwise = _IMAGES.get(one.name)
        parser.add_argument(
            _flag(one.name),
            metavar=_METAVARS[one.name],
            help=f"as the webhook was set up: {environment.about(one)}; default:"
            f" ${variable(one)}{f', {otherwise}' if otherwise else ''}",
        )


def defaults(arguments: argparse.Namespace, around: Surroundings) -> SidecarDefaults:
    """What the flags and the surroundings say. Raises `UnusableInput` with every mistake."""
    texts = {variable(one): _text(one, arguments, around) for one in _SETTINGS}
    values, mistakes = environment.read(_SETTINGS, texts, prefix=PREFIX, called=_flag)
    if mistakes:
        raise UnusableInput("; ".join(mistakes))
    return SidecarDefaults(**{name.removeprefix(_PREFIX): one for name, one in values.items()})


def _text(setting: Field[Any], arguments: argparse.Namespace, around: Surroundings) -> str:
    given = getattr(arguments, setting.name) or around.env.get(variable(setting))
    return given or _IMAGES.get(setting.name, "")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
