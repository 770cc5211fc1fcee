"""The README's first screen, taken at its word."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.control_plane import ControlPlane

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.fixture
def manifests() -> list[dict[str, Any]]:
    """The binding and the pod."""
    [text] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert text.count("\n") <= 20, "the first screen promises brevity"
    return list(yaml.safe_load_all(text))


def test_an_api_server_accepts_what_the_readme_shows(
    schema: ControlPlane, namespace: str, manifests: list[dict[str, Any]]
) -> None:
    for manifest in manifests:
        manifest["metadata"]["namespace"] = namespace
        schema.apply(yaml.safe_dump(manifest), namespace=namespace)
    assert [manifest["kind"] for manifest in manifests] == ["RolesAnywhereBinding", "Pod"]
