"""A folder under ``golden`` is the spec: a pod, its namespace's bindings, what becomes of it."""

import json
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml

from rolesanywhere_operator.domain import bindings, injection, selection
from rolesanywhere_operator.domain.bindings import InvalidBinding
from rolesanywhere_operator.domain.decisions import Inject, Refuse
from rolesanywhere_operator.domain.sidecardefaults import SidecarDefaults
from rolesanywhere_operator.settings import PREFIX, WebhookSettings
from tests.operator.builders import IMAGE, PKCS11_IMAGE

GOLDEN = Path(__file__).parent / "golden"
INJECTED = sorted(path.parent for path in GOLDEN.glob("*/injected.yaml"))
REFUSED = sorted(path.parent for path in GOLDEN.glob("*/refused.txt"))


def name_of(case: Path) -> str:
    return case.name


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def bindings_of(case: Path) -> selection.Bindings:
    found: dict[str, bindings.Binding | InvalidBinding] = {}
    allowed = case / "allowed.yaml"
    host_paths = frozenset(read(allowed)) if allowed.exists() else None
    for raw in yaml.safe_load_all((case / "binding.yaml").read_text()):
        try:
            found[raw["metadata"]["name"]] = bindings.parse(raw, host_paths=host_paths)
        except InvalidBinding as wrong:
            found[raw["metadata"]["name"]] = wrong
    return found


def defaults_of(case: Path) -> SidecarDefaults:
    """What the webhook makes of what the case has it told."""
    chosen = case / "defaults.yaml"
    given = read(chosen) if chosen.exists() else {}
    texts = {"image": IMAGE, "pkcs11_image": PKCS11_IMAGE} | {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
    }
    env = {f"{PREFIX}SIDECAR_{name.upper()}": text for name, text in texts.items()}
    return WebhookSettings.from_env(env).sidecar_defaults


def injected(pod: Any, case: Path) -> Any:
    decision = selection.decide(pod, "team-a", bindings_of(case))
    assert isinstance(decision, Inject)
    operations = injection.inject(pod, decision, defaults=defaults_of(case))
    return jsonpatch.apply_patch(pod, operations)


@pytest.mark.parametrize("case", INJECTED, ids=name_of)
def test_a_pod_becomes_its_golden_twin(case: Path) -> None:
    assert injected(read(case / "pod.yaml"), case) == read(case / "injected.yaml")


@pytest.mark.parametrize("case", INJECTED, ids=name_of)
def test_a_golden_twin_needs_nothing_more(case: Path) -> None:
    twin = read(case / "injected.yaml")
    decision = selection.decide(twin, "team-a", bindings_of(case))
    assert isinstance(decision, Inject)
    assert injection.inject(twin, decision, defaults=defaults_of(case)) == []


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_a_refused_pod_is_told_why_and_what_to_do(case: Path) -> None:
    decision = selection.decide(read(case / "pod.yaml"), "team-a", bindings_of(case))
    assert isinstance(decision, Refuse)
    assert f"{decision.reason}: {decision.sentence}\n" == (case / "refused.txt").read_text()


def test_every_golden_folder_says_what_becomes_of_its_pod() -> None:
    assert set(INJECTED) ^ set(REFUSED) == {path for path in GOLDEN.iterdir() if path.is_dir()}
