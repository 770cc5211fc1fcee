"""The sidecar's way to AWS, through a real API server: bindings, defaults, Pod Security."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.chart.helm import render
from tests.cluster.release import Release
from tests.control_plane.conftest import MakeRelease
from tests.control_plane.teams import RESTRICTED, Team, enforce
from tests.operator.builders import IMAGE, a_container, a_pod

PAGE: Final = Path(__file__).parents[2] / "docs" / "behind-a-proxy.md"
EXAMPLES: Final = [
    given for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    if "sidecar" in (given := yaml.safe_load(text))
]  # fmt: skip
PROXY: Final = {"url": "http://proxy.corp.example:3128", "noProxy": [".corp.example"]}
BUNDLE: Final = {"configMap": {"name": "corp-authorities", "key": "bundle.pem"}}
DIRECTORY: Final = "/var/run/rolesanywhere-ca-bundle"


@pytest.fixture(scope="module")
def release(releases: MakeRelease) -> Iterator[Release]:
    """A webhook that was told of a proxy and of a CA bundle."""
    there = releases("egress-tests")
    told = {"sidecar_proxy": json.dumps(PROXY), "sidecar_ca_bundle": json.dumps(BUNDLE)}
    with there.serving(sidecar_image=IMAGE, **told):
        yield there


@pytest.fixture
def team(release: Release, namespace: str) -> Team:
    """A namespace that enforces Pod Security restricted."""
    enforce(release.control_plane, namespace, "restricted")
    return Team(release.control_plane, namespace)


def made(team: Team, **sidecar: Any) -> Any:
    """A restricted pod, as the API server keeps it, of a new binding with that ``spec.sidecar``."""
    team.bind(sidecar=sidecar)
    return team.create(a_pod(a_container(**RESTRICTED)))


def way_out(pod: Any) -> tuple[dict[str, Any], Any]:
    """What the sidecar is told of its way out, and the ConfigMap that it mounts."""
    [sidecar] = pod["spec"]["initContainers"]
    told = {one["name"]: one.get("value", one.get("valueFrom")) for one in sidecar["env"]}
    bundle = [one["configMap"] for one in pod["spec"]["volumes"] if "configMap" in one]
    mounted = [one for one in sidecar["volumeMounts"] if one["mountPath"] == DIRECTORY]
    assert len(bundle) == len(mounted)
    assert all(one["readOnly"] for one in mounted)
    return {
        name: told[name]
        for name in ("https_proxy", "no_proxy", "ROLESANYWHERE_CA_BUNDLE")
        if name in told
    }, next(iter(bundle), None)


def config_map(name: str, key: str) -> dict[str, Any]:
    """The source of a volume as the API server keeps it; it is not optional."""
    return {"name": name, "items": [{"key": key, "path": "ca.crt"}], "defaultMode": 0o444}


def test_a_restricted_pod_goes_the_way_that_the_operator_was_told(team: Team) -> None:
    told, bundle = way_out(made(team))
    assert told == {
        "https_proxy": "http://proxy.corp.example:3128",
        "no_proxy": ".corp.example",
        "ROLESANYWHERE_CA_BUNDLE": f"{DIRECTORY}/ca.crt",
    }
    assert bundle == config_map("corp-authorities", "bundle.pem")


def test_a_bindings_own_way_wins_with_the_defaults_of_its_schema(team: Team) -> None:
    secret = {"name": "proxy", "key": "url"}
    told, bundle = way_out(
        made(team, proxy={"urlSecretRef": secret}, caBundle={"configMap": {"name": "own"}})
    )
    assert told == {
        "https_proxy": {"secretKeyRef": secret},
        "ROLESANYWHERE_CA_BUNDLE": f"{DIRECTORY}/ca.crt",
    }
    assert bundle == config_map("own", "ca.crt")


@pytest.mark.parametrize("example", EXAMPLES, ids=json.dumps)
def test_what_the_page_shows_is_said_in_a_binding_and_in_the_chart_alike(
    team: Team, helm: Path, example: dict[str, Any]
) -> None:
    team.bind(**example)
    assert render(helm, namespace="aws-system", values=example)


def test_a_binding_may_do_without(team: Team) -> None:
    assert way_out(made(team, proxy={}, caBundle={})) == ({}, None)


def test_a_pod_copied_from_one_with_a_way_out_is_left_as_it_is(team: Team) -> None:
    first = made(team)
    copy = {key: first[key] for key in ("apiVersion", "kind", "spec")} | {
        "metadata": {
            "name": "copy",
            **{key: first["metadata"][key] for key in ("annotations", "labels")},
        }
    }
    assert team.create(copy)["spec"] == first["spec"]
