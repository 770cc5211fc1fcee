"""The examples: a real API server takes each binding, and `explain` says that it is injected."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import KubectlFailed

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
EACH: Final = pytest.mark.parametrize(
    "example", sorted(path for path in EXAMPLES.iterdir() if path.is_dir()), ids=lambda p: p.name
)


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rolesanywhere_operator", *arguments],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


@EACH
def test_the_api_server_takes_the_binding_and_the_workload(
    schema: ControlPlane, namespace: str, example: Path
) -> None:
    """In a namespace that there is. Strictly: a field that nobody knows would be an error."""
    for name in ("binding.yaml", "workload.yaml"):
        document = load(example / name)
        document["metadata"]["namespace"] = namespace
        schema.kubectl(
            "create", "--dry-run=server", "--validate=strict", "--filename=-",
            input=json.dumps(document),
        )  # fmt: skip


@EACH
def test_a_mistake_in_an_example_would_be_noticed(
    schema: ControlPlane, namespace: str, example: Path
) -> None:
    document = load(example / "binding.yaml")
    document["metadata"]["namespace"] = namespace
    document["spec"]["profileArn"] = document["spec"]["profileArn"].replace("eu-west-1", "eu-2")
    with pytest.raises(KubectlFailed, match="profileArn"):
        schema.kubectl("create", "--dry-run=server", "--filename=-", input=json.dumps(document))


@EACH
def test_the_workload_would_be_injected(example: Path) -> None:
    files = ("-f", example / "binding.yaml", "-f", example / "workload.yaml")
    told = command("explain", *files, "--output=json")
    assert told.returncode == 0, told.stdout + told.stderr
    answer = json.loads(told.stdout)
    assert answer["injected"] is True
    assert answer["binding"] == load(example / "binding.yaml")["metadata"]["name"]
    assert answer["pod"]["spec"]["initContainers"][0]["name"] == "rolesanywhere-sidecar"


@EACH
def test_another_pod_of_the_namespace_would_not_be_served(example: Path, tmp_path: Path) -> None:
    workload = load(example / "workload.yaml")
    workload["spec"]["template"]["metadata"]["labels"] = {"app.kubernetes.io/name": "another"}
    workload["spec"]["template"]["spec"]["serviceAccountName"] = "another"
    (tmp_path / "workload.yaml").write_text(yaml.safe_dump(workload))
    told = command("explain", "-f", example / "binding.yaml", "-f", tmp_path / "workload.yaml")
    assert told.returncode == 1


@EACH
def test_the_role_that_it_needs_can_be_told(example: Path) -> None:
    binding = load(example / "binding.yaml")["metadata"]["name"]
    told = command("trust-policy", binding, "-f", example / "binding.yaml", "--output=json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["Statement"]


@EACH
def test_the_values_ask_for_what_the_workload_shows(example: Path) -> None:
    values = load(example / "values.yaml")
    asked = values.get("podAnnotations") or values["controller"]["podAnnotations"]
    assert load(example / "workload.yaml")["spec"]["template"]["metadata"]["annotations"] == asked


@EACH
def test_the_page_leads_to_the_example(example: Path) -> None:
    assert f"]({example.name})" in (EXAMPLES / "README.md").read_text()
