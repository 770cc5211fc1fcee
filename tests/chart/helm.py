"""Helm for the tests of every tier: the chart as it renders, and a client for one cluster."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Helm:
    """A runner. ``home`` takes its caches; without ``kubeconfig`` it reaches no cluster.

    ``entering`` is a command that leads into the network of the cluster, where that is another;
    ``timeout`` is in seconds.
    """

    binary: Path
    home: Path
    kubeconfig: Path = Path("/dev/null")
    entering: Sequence[str] = ()
    timeout: float = 60

    def __call__(self, *arguments: str | Path, values: Mapping[str, Any] | None = None) -> str:
        """What Helm prints. ``values`` are given as a file. Raises `HelmFailed`."""
        given = [] if values is None else ["--values=-"]
        done = subprocess.run(
            [*self.entering, self.binary, *arguments, *given],
            input=json.dumps(values or {}),
            env={"HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
            timeout=self.timeout,
        )
        if done.returncode != 0:
            raise HelmFailed(done.stdout + done.stderr)
        return done.stdout


def render(
    helm: Path,
    *,
    namespace: str,
    values: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    chart: Path = CHART,
) -> list[Manifest]:
    """The objects of the chart, or of the templates ``only``. Raises `HelmFailed`."""
    templates = (f"--show-only=templates/{template}" for template in only)
    run = Helm(helm, home=Path("/nonexistent"))
    text = run(
        "template", RELEASE, chart, f"--namespace={namespace}", *templates, values=values or {}
    )
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def as_yaml(manifests: Sequence[Manifest]) -> str:
    """``manifests`` as one text that kubectl can apply."""
    return yaml.safe_dump_all(manifests)
