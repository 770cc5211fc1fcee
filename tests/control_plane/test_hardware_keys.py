"""Keys in hardware on a real API server: folders of nodes, Pod Security, and who speaks first."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonpatch
import pytest

from rolesanywhere_operator.domain import bindings, injection, selection
from rolesanywhere_operator.domain.decisions import Inject
from tests.chart.helm import as_yaml, render
from tests.cluster import authorization
from tests.cluster.control_plane import ControlPlane
from tests.cluster.controllers import Cluster, told
from tests.cluster.kubectl import KubectlFailed
from tests.control_plane.conftest import MakeRelease
from tests.control_plane.teams import RESTRICTED, Team, enforce
from tests.control_plane.test_crd import create
from tests.control_plane.test_identity_volumes import made
from tests.operator.builders import (
    DEFAULTS,
    IMAGE,
    PKCS11_IMAGE,
    a_container,
    a_pod,
    a_raw_binding,
)
from tests.support.waiting import eventually

SOCKETS: Final = "/run/node-pkcs11"
SERVER: Final[dict[str, Any]] = {
    "pkcs11": {
        "uri": "pkcs11:token=node;object=workload",
        "pinSecretRef": {"name": "node-pin", "key": "pin"},
        "certificateSecretRef": {"name": "workload"},
        "server": {"socketDirectory": SOCKETS},
        "runAsGroup": 2323,
    }
}
VENDOR: Final[dict[str, Any]] = {
    "pkcs11": {
        "uri": "pkcs11:serial=0102;object=workload",
        "modulePath": "/opt/vendor/lib/libvendor.so",
        "device": {"resourceName": "example.com/hsm"},
        "hostPaths": ["/opt/vendor", "/etc/vendor"],
        "env": [{"name": "VENDOR_CONF", "value": "/etc/vendor/$(POD_NAME).conf"}],
    }
}
ALLOWED: Final = {"pkcs11": {"hostPaths": [SOCKETS]}}


@pytest.mark.parametrize("identity", [SERVER, VENDOR], ids=["server", "vendor"])
def test_a_pod_with_folders_of_its_node_is_held_as_it_was_made(
    schema: ControlPlane, namespace: str, identity: dict[str, Any]
) -> None:
    enforce(schema, namespace, "privileged")
    raw = create(schema, namespace, a_raw_binding(identity=identity))
    binding = bindings.parse(raw)
    decision = selection.decide(a_pod(), namespace, {binding.name: binding})
    assert isinstance(decision, Inject)
    after = jsonpatch.apply_patch(a_pod(), injection.inject(a_pod(), decision, defaults=DEFAULTS))
    held = made(schema, namespace, after)
    volumes = {one["name"]: one for one in held["spec"]["volumes"]}
    for one in after["spec"]["volumes"]:
        assert volumes[one["name"]] == one
    [sidecar] = held["spec"]["initContainers"]
    [ours] = after["spec"]["initContainers"]
    # It adds its own: what is asked for beside the limits, and where messages go.
    assert {name: sidecar[name] for name in ours if name not in ("resources", "env")} == {
        name: value for name, value in ours.items() if name not in ("resources", "env")
    } | {"startupProbe": sidecar["startupProbe"], "livenessProbe": sidecar["livenessProbe"]}
    assert sidecar["env"] == ours["env"]
    assert sidecar["resources"]["limits"].keys() == ours["resources"]["limits"].keys()
    assert injection.inject(held, decision, defaults=DEFAULTS) == []


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_pod_security_is_as_strict_as_we_say(
    schema: ControlPlane, namespace: str, level: str
) -> None:
    """The API server itself, with nobody before it."""
    enforce(schema, namespace, level)
    binding = bindings.parse(a_raw_binding(namespace=namespace, identity=SERVER))
    pod = a_pod(a_container(**RESTRICTED))
    decision = selection.decide(pod, namespace, {binding.name: binding})
    assert isinstance(decision, Inject)
    patch = injection.inject(pod, decision, defaults=DEFAULTS)
    with pytest.raises(KubectlFailed, match=r"violates PodSecurity.*hostPath"):
        made(schema, namespace, jsonpatch.apply_patch(pod, patch))


@pytest.fixture(scope="module")
def webhook(releases: MakeRelease) -> Iterator[None]:
    """A webhook that allows one folder, under the account that the chart makes then."""
    told = {"sidecar_pkcs11_image": PKCS11_IMAGE, "host_paths": SOCKETS}
    with releases("hardware-tests", ALLOWED).serving(sidecar_image=IMAGE, **told):
        yield


@pytest.fixture
def team(webhook: None, control_plane: ControlPlane, namespace: str) -> Team:
    """A namespace of users."""
    return Team(control_plane, namespace)


def test_an_allowed_folder_is_given_to_the_sidecar_in_the_image_with_modules(team: Team) -> None:
    enforce(team.control_plane, team.namespace, "privileged")
    team.bind(identity=SERVER)
    pod = team.create(a_pod())
    [sidecar] = pod["spec"]["initContainers"]
    assert sidecar["image"] == PKCS11_IMAGE
    assert sidecar["securityContext"]["runAsGroup"] == 2323
    [app] = pod["spec"]["containers"]
    folder = next(one["name"] for one in pod["spec"]["volumes"] if "hostPath" in one)
    assert folder in {mount["name"] for mount in sidecar["volumeMounts"]}
    assert folder not in {mount["name"] for mount in app["volumeMounts"]}


def test_other_identities_keep_the_plain_image(team: Team) -> None:
    team.bind()
    [sidecar] = team.create(a_pod())["spec"]["initContainers"]
    assert sidecar["image"] == IMAGE


def test_a_folder_that_is_not_on_the_list_is_refused_with_what_to_do(team: Team) -> None:
    team.bind(identity=VENDOR)
    said = team.refusal_of(a_pod())
    assert "HostPathNotAllowed" in said
    assert "needs /opt/vendor and /etc/vendor of the node" in said
    assert "pkcs11.hostPaths of its chart" in said


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_we_say_what_pod_security_forbids_before_it_does(team: Team, level: str) -> None:
    enforce(team.control_plane, team.namespace, level)
    team.bind(identity=SERVER)
    said = team.refusal_of(a_pod(a_container(**RESTRICTED)))
    assert "PodSecurityForbids" in said
    assert f"which Pod Security {level} of namespace {team.namespace} refuses" in said
    assert "violates PodSecurity" not in said


def test_a_device_alone_passes_restricted(team: Team) -> None:
    enforce(team.control_plane, team.namespace, "restricted")
    device = {"uri": "pkcs11:token=node", "device": {"resourceName": "example.com/tpm"}}
    team.bind(identity={"pkcs11": device})
    [sidecar] = team.create(a_pod(a_container(**RESTRICTED)))["spec"]["initContainers"]
    assert sidecar["resources"]["limits"]["example.com/tpm"] == "1"


def test_a_binding_says_what_its_namespace_forbids_and_when_it_does_no_more(
    cluster: Cluster, helm: Path
) -> None:
    roles = render(helm, namespace=cluster.namespace, values=ALLOWED, only=["controller/rbac.yaml"])
    cluster.control_plane.apply(as_yaml(roles), namespace=cluster.namespace)
    authorization.take_effect(cluster.control_plane, roles, namespace=cluster.namespace)
    enforce(cluster.control_plane, cluster.namespace, "baseline")
    cluster.apply(identity=SERVER)
    cluster.leader("controller", host_paths=SOCKETS)
    judged = cluster.judged(generation=1)
    assert told(judged) == {
        "Accepted": ("True", "Valid"),
        "IdentityReady": ("False", "PodSecurityForbids"),
        "Ready": ("False", "PodSecurityForbids"),
    }
    assert f"baseline of namespace {cluster.namespace}" in json.dumps(judged["status"])
    enforce(cluster.control_plane, cluster.namespace, "privileged")
    eventually(
        "the binding is ready",
        lambda: told(cluster.binding()).get("Ready") == ("True", "Accepted"),
        within=60,
    )
