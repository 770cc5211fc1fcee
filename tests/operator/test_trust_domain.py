"""The trust domain that the operator was set up with reaches every place that needs it."""

import argparse
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_operator.cli import explain, trustpolicy
from rolesanywhere_operator.cli.answers import Answer, UnusableInput
from rolesanywhere_operator.cli.sources import Surroundings
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.domain.identities import PerBindingIdentity
from rolesanywhere_operator.kube.reflector import Chance
from rolesanywhere_operator.settings import ControllerSettings, WebhookSettings
from rolesanywhere_operator.webhook.catalog import LiveCatalog
from tests.operator.builders import a_pod, a_raw_binding

PER_BINDING = {"certManager": {"issuerRef": {"name": "ca"}}}
PER_POD = {"certManager": {"issuerRef": {"name": "ca"}, "mode": "PerPod"}}
VARIABLE = "ROLESANYWHERE_OPERATOR_TRUST_DOMAIN"


def test_both_programs_are_told_by_one_variable() -> None:
    webhook = WebhookSettings.from_env(
        {VARIABLE: "example.org", "ROLESANYWHERE_OPERATOR_SIDECAR_IMAGE": "sidecar"}
    )
    controller = ControllerSettings.from_env(
        {VARIABLE: "example.org", "ROLESANYWHERE_OPERATOR_NAMESPACE": "rolesanywhere"}
    )
    assert webhook.trust_domain == controller.trust_domain == "example.org"


@pytest.mark.parametrize("text", ["Example.org", "spiffe://example.org", "a/b", "e" * 256])
def test_what_is_no_trust_domain_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{VARIABLE}: '.*' is not a trust domain, expected"):
        WebhookSettings.from_env({VARIABLE: text, "ROLESANYWHERE_OPERATOR_SIDECAR_IMAGE": "s"})


class OneNamespace:
    """A `Source` that lists one binding and has no news."""

    async def get(self, path: str, **_: Any) -> dict[str, Any]:
        return {"items": [a_raw_binding(identity=PER_BINDING)]}


async def test_the_webhook_reads_bindings_with_it() -> None:
    source: Any = OneNamespace()
    chance = Chance(draw=random.random, sleep=_never)
    catalog = LiveCatalog(source, trust_domain="example.org", chance=chance)
    entry = (await catalog.asked("team-a"))["reports"]
    assert isinstance(entry, Binding)
    assert isinstance(entry.identity, PerBindingIdentity)
    assert entry.identity.wanted.uris == (
        "spiffe://example.org/ns/team-a/rolesanywherebinding/reports",
    )


async def _never(_: float) -> None:
    raise AssertionError("there is nothing to wait for")


@pytest.mark.parametrize(
    ("arguments", "env", "expected"),
    [
        ((), {}, "cluster.local"),
        ((), {VARIABLE: "example.org"}, "example.org"),
        (("--trust-domain", "example.net"), {VARIABLE: "example.org"}, "example.net"),
    ],
)
def test_the_commands_take_it_from_flag_or_environment(
    arguments: tuple[str, ...], env: dict[str, str], expected: str, tmp_path: Path
) -> None:
    file = tmp_path / "binding.json"
    file.write_text(_as_text(a_raw_binding(identity=PER_BINDING), a_pod()))
    policy = _answer(trustpolicy, ("-f", str(file), *arguments), env)
    assert f"spiffe://{expected}/ns/team-a/rolesanywherebinding/reports" in policy.output
    file.write_text(_as_text(a_raw_binding(identity=PER_POD), a_pod()))
    told = _answer(explain, ("-f", str(file), "-n", "team-a", "-o", "patch", *arguments), env)
    assert f"spiffe://{expected}/ns/team-a/rolesanywherebinding/reports/pod/" in told.output


def test_the_commands_refuse_what_is_no_trust_domain(tmp_path: Path) -> None:
    file = tmp_path / "binding.json"
    file.write_text(_as_text(a_raw_binding()))
    with pytest.raises(UnusableInput, match="--trust-domain: 'A/b' is not a trust domain"):
        _answer(trustpolicy, ("-f", str(file), "--trust-domain", "A/b"), {})


def _answer(command: Any, arguments: tuple[str, ...], env: dict[str, str]) -> Answer:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    found: Answer = command.answer(
        parser.parse_args(arguments), Surroundings(env, Path("/nowhere"), lambda: "")
    )
    return found


def _as_text(*objects: Any) -> str:
    return str(yaml.safe_dump_all(objects))
