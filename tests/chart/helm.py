"""The chart as Helm renders it, for the tests of every tier. Never installs anything."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).parents[2] / "charts" / "rolesanywhere"
RELEASE: Final = "aws"
# What Helm makes of the release's name.
FULLNAME: Final = "aws-rolesanywhere"

Manifest = dict[str, Any]


class HelmFailed(Exception):
    """Helm refused; the text is what it said."""


def render(
    helm: Path,
    *,
    namespace: str,
    values: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
) -> list[Manifest]:
    """The objects of the chart, or of the templates ``only``. Raises `HelmFailed`."""
    command: list[str | Path] = [
        helm, "template", RELEASE, CHART, f"--namespace={namespace}", "--values=-",
        *(f"--show-only=templates/{template}" for template in only),
    ]  # fmt: skip
    done = subprocess.run(
        command,
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        raise HelmFailed(done.stderr)
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def as_yaml(manifests: Sequence[Manifest]) -> str:
    """``manifests`` as one text that kubectl can apply."""
    return yaml.safe_dump_all(manifests)
