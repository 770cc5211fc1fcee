"""``docs/reference.md`` says what the code does, no more and no less."""

import asyncio
import importlib
import pkgutil
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rolesanywhere_contract
import rolesanywhere_operator
import rolesanywhere_sidecar
from rolesanywhere_contract import environment
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.exposition import Family
from rolesanywhere_contract.settings import Settings, variable
from rolesanywhere_operator import settings as operator_settings
from rolesanywhere_operator.controller.metrics import Account
from rolesanywhere_operator.domain import conditions
from rolesanywhere_operator.domain.decisions import Reason
from rolesanywhere_operator.kube.calls import Call
from rolesanywhere_operator.kube.reflector import Chance, Reflector
from rolesanywhere_operator.metrics import ApiCalls
from rolesanywhere_operator.webhook import metrics as webhook_metrics
from rolesanywhere_operator.webhook.tally import Tally
from rolesanywhere_sidecar.commands.table import COMMANDS, flag, flags_of
from rolesanywhere_sidecar.doctor.findings import Check
from rolesanywhere_sidecar.identities.pkcs11 import tally as pkcs11_tally
from rolesanywhere_sidecar.metrics import Metrics

REFERENCE = (Path(__file__).parents[1] / "docs" / "reference.md").read_text()


def section(heading: str) -> list[list[str]]:
    """The rows of a section's tables, cell by cell."""
    text = REFERENCE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def default(setting: Field[Any]) -> str:
    if setting.default is MISSING:
        return "required"
    shown = setting.default
    if shown is None:
        return ""
    return f"`{str(shown).lower() if isinstance(shown, bool) else shown}`"


def errors(
    root: type[RolesAnywhereError] = RolesAnywhereError,
) -> Iterator[type[RolesAnywhereError]]:
    yield root
    for below in root.__subclasses__():
        yield from errors(below)


def test_the_sidecars_settings_are_these() -> None:
    expected = []
    for setting in fields(Settings):
        names = ", ".join(f"`{one}`" for one in flags_of(setting.name))
        name = f"`{variable(setting.name)}`"
        expected.append([names, name, default(setting), environment.about(setting)])
    assert section("Settings of the sidecar") == expected


def test_the_sidecars_commands_and_their_options_are_these() -> None:
    commands = [[f"`{name}`", command.purpose] for name, command in COMMANDS.items()]
    options = [
        [f"`{flag(name)}`", f"`{command}`", f"`{option.default}`", option.about]
        for command, about in COMMANDS.items()
        for name, option in about.options.items()
    ]
    assert section("Commands of the sidecar") == commands + options


def test_the_operators_settings_are_these() -> None:
    expected: list[list[str]] = []
    programs = (operator_settings.WebhookSettings, operator_settings.ControllerSettings)
    for settings in (operator_settings.Settings, *programs):
        for setting in fields(settings):
            name = environment.variable(setting, prefix=operator_settings.PREFIX)
            row = [f"`{name}`", default(setting), environment.about(setting)]
            expected += [row] if row not in expected else []
    assert section("Settings of the operator") == expected


def test_the_checks_of_the_doctor_are_these() -> None:
    words = [row[0].strip("`") for row in section("Checks of the doctor")]
    assert words == [str(check) for check in Check]


def test_the_reasons_are_these() -> None:
    words = [row[0].strip("`") for row in section("What becomes of a pod")]
    assert words == [str(reason) for reason in Reason]


def test_the_reasons_of_conditions_are_these() -> None:
    words = [row[0].strip("`") for row in section("Conditions of a binding")]
    assert words == [str(reason) for reason in conditions.Reason]


def test_the_sidecars_metrics_are_these() -> None:
    metrics = Metrics(
        expires=lambda: None, identity=lambda: None, skew=float, now=lambda: datetime.now(UTC),
        token=pkcs11_tally.Tally(),
    )  # fmt: skip
    metrics.requested("imds", 200)
    expected = []
    for family in metrics.families():
        labels = ", ".join(f"`{label}`" for label in family.samples[-1].labels)
        expected.append([f"`{family.name}`", family.kind, labels, family.help])
    assert section("Metrics of the sidecar") == expected


def test_the_operators_metrics_are_these() -> None:
    calls = ApiCalls("webhook")
    calls.observe(Call("get", "pods", 200, 0.1))
    tally, account = Tally(), Account(calls)
    tally.answered("leave", "NotAsked")
    account.looked()
    copy = Reflector[None](_Nowhere(), "/x", read=lambda _: None, chance=NO_CHANCE)
    webhook = webhook_metrics.families(
        tally=tally, calls=calls, copy=copy, now=float, certificate_ends=None,
        longest_wait=timedelta(),
    )  # fmt: skip
    account.bindings = lambda: [{}]
    told = {"webhook": list(webhook), "controller": list(account.families())}
    assert section("Metrics of the operator") == list(_of_each(told))


def _of_each(told: Mapping[str, Sequence[Family]]) -> Iterator[list[str]]:
    """A row for each family, those of one program alone first."""
    names = {program: {family.name for family in families} for program, families in told.items()}
    shared = names["webhook"] & names["controller"]
    for program, families in told.items():
        yield from (_row(one, program) for one in families if one.name not in shared)
    yield from (_row(one, "both") for one in told["controller"] if one.name in shared)


def _row(family: Family, program: str) -> list[str]:
    labels = ", ".join(f"`{label}`" for label in family.samples[-1].labels)
    return [f"`{family.name}`", program, family.kind, labels, family.help]


class _Nowhere:
    """A source that is never asked."""

    async def get(self, path: str) -> dict[str, Any]:
        raise AssertionError(path)

    def watch(self, path: str, **_: object) -> AsyncIterator[dict[str, Any]]:
        raise AssertionError(path)


NO_CHANCE = Chance(draw=float, sleep=asyncio.sleep)


def test_the_codes_are_these() -> None:
    for package in (rolesanywhere_contract, rolesanywhere_sidecar, rolesanywhere_operator):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    ours = [
        e for e in errors() if re.match(r"rolesanywhere_(contract|sidecar|operator)", e.__module__)
    ]
    expected = {error.code: error.retryable for error in ours if "code" in vars(error)}
    told = {row[0].strip("`"): row[1] == "yes" for row in section("Codes of failures")}
    assert told == expected
