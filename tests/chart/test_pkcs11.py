"""What keys in hardware take of a cluster: folders of nodes, an image, and a p11-kit server."""

from typing import Any

import pytest

from rolesanywhere_operator.domain.identities import CLIENT_MODULE, SOCKET_FILE
from rolesanywhere_operator.settings import ControllerSettings, WebhookSettings
from tests.chart import permissions
from tests.chart.helm import FULLNAME, HelmFailed, Manifest
from tests.chart.test_chart import of_kind, pod_spec, rendered

SERVER: dict[str, Any] = {
    "enabled": True,
    "token": "pkcs11:token=node",
    "deviceResource": "example.com/tpm",
    "store": "/var/lib/tpm2-pkcs11",
    "hostPaths": ["/opt/vendor"],
}


def server(**values: Any) -> Any:
    """The pod of the p11-kit server."""
    daemon_sets = of_kind(rendered(pkcs11Server=SERVER | values), "DaemonSet")
    return daemon_sets[f"{FULLNAME}-pkcs11-server"]["spec"]["template"]["spec"]


def told(manifests: list[Manifest], component: str) -> dict[str, str]:
    (container,) = pod_spec(manifests, component)["containers"]
    return {e["name"]: e.get("value", "from-the-pod") for e in container["env"]}


def test_no_folder_of_a_node_is_allowed_and_nothing_runs_on_nodes_as_it_comes() -> None:
    chart = rendered()
    assert not of_kind(chart, "DaemonSet")
    for component, settings in (("webhook", WebhookSettings), ("controller", ControllerSettings)):
        assert settings.from_env(told(chart, component)).allowed_paths == frozenset()
    assert not [one for one in permissions.granted(chart, namespace="aws-system")
                if one.resource == "namespaces"]  # fmt: skip


def test_both_programs_are_told_the_same_folders_and_may_look_at_namespaces() -> None:
    chart = rendered(pkcs11={"hostPaths": ["/opt/vendor", "/run/p11"]}, pkcs11Server=SERVER)
    expected = {"/opt/vendor", "/run/p11", "/run/rolesanywhere-pkcs11"}
    for component, settings in (("webhook", WebhookSettings), ("controller", ControllerSettings)):
        assert settings.from_env(told(chart, component)).allowed_paths == expected
    asked = [one for one in permissions.granted(chart, namespace="aws-system")
             if one.resource == "namespaces"]  # fmt: skip
    assert [(one.component, one.verb) for one in sorted(asked)] == [
        ("controller", "get"), ("webhook", "get"),
    ]  # fmt: skip


def test_pods_with_keys_in_hardware_get_an_image_of_their_own() -> None:
    images = {"registry": "r.example", "digests": {"sidecarPkcs11": f"sha256:{'b' * 64}"}}
    environment = told(rendered(images=images), "webhook")
    assert WebhookSettings.from_env(environment).sidecar_pkcs11_image == (
        f"r.example/rolesanywhere-sidecar-pkcs11@sha256:{'b' * 64}"
    )


def test_the_server_is_nobody_and_can_do_nothing_but_serve() -> None:
    pod = server()
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 2323,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)


def test_the_server_shows_one_token_that_nobody_may_write_to_and_to_one_group_alone() -> None:
    [container] = server(store="")["containers"]
    arguments = [
        "server", "--foreground",
        "--provider", "/usr/lib/pkcs11/libtpm2_pkcs11.so",
        "--name", f"/run/rolesanywhere-pkcs11/{SOCKET_FILE}",
        "-g", "clients",
        "pkcs11:token=node?write-protected=yes",
    ]  # fmt: skip
    assert (container["command"], container["args"]) == (["p11-kit"], arguments)
    [container] = server()["containers"]
    assert container["args"] == arguments
    assert container["command"][2].endswith(' && exec p11-kit "$@"')


def test_the_group_that_the_server_knows_by_name_is_the_one_of_the_values() -> None:
    [groups] = of_kind(rendered(pkcs11Server=SERVER | {"group": 4711}), "ConfigMap").values()
    assert "clients:x:4711:" in groups["data"]["group"].splitlines()
    assert server(group=4711)["securityContext"]["runAsGroup"] == 4711


def test_the_server_writes_to_nothing_of_the_node_but_its_sockets_folder() -> None:
    pod = server()
    [container] = pod["containers"]
    of_the_node = {one["name"] for one in pod["volumes"] if "hostPath" in one}
    writable = {one["name"] for one in container["volumeMounts"] if not one.get("readOnly")}
    assert of_the_node & writable == {"socket"}
    assert container["resources"]["limits"]["example.com/tpm"] == 1


def test_a_tpms_store_lies_read_only_where_the_server_may_lock_it() -> None:
    pod = server()
    [container] = pod["containers"]
    told = {one["name"]: one["value"] for one in container["env"]}
    folder = told["TPM2_PKCS11_STORE"]
    mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    # As a whole: a file mounted by itself would stay what it was when the pod began.
    store = mounts[SERVER["store"]]
    assert store == {"name": "store", "mountPath": SERVER["store"], "readOnly": True}
    assert volumes["store"]["hostPath"]["path"] == SERVER["store"]
    assert container["command"][-1] == SERVER["store"]
    assert f" {folder}/ " in container["command"][2]
    assert "emptyDir" in volumes[mounts[folder]["name"]]
    assert not mounts[folder].get("readOnly")
    assert "PKCS11_SQL_LOCK" not in told


def test_root_gives_the_sockets_folder_away_and_no_more() -> None:
    [first] = server()["initContainers"]
    assert first["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN"]}
    assert [one["name"] for one in first["volumeMounts"]] == ["socket"]
    assert "initContainers" not in server(prepareDirectory=False)


def test_the_server_is_well_while_a_client_sees_a_token() -> None:
    [container] = server(livenessProbe={"periodSeconds": 7})["containers"]
    assert container["livenessProbe"]["periodSeconds"] == 7
    for probe in ("livenessProbe", "readinessProbe"):
        command = container[probe]["exec"]["command"]
        assert CLIENT_MODULE in command[-1]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["P11_KIT_SERVER_ADDRESS"].endswith(f"/{SOCKET_FILE}")


def test_the_servers_namespace_may_be_another_for_all_of_it() -> None:
    chart = rendered(pkcs11Server=SERVER | {"namespace": "hsm"}, networkPolicy={"enabled": True})
    ours = [one for one in chart if one["metadata"]["name"] == f"{FULLNAME}-pkcs11-server"]
    assert sorted(one["kind"] for one in ours) == [
        "ConfigMap", "DaemonSet", "NetworkPolicy", "ServiceAccount",
    ]  # fmt: skip
    assert {one["metadata"]["namespace"] for one in ours} == {"hsm"}


def test_a_network_policy_leaves_the_server_alone_with_its_socket() -> None:
    chart = rendered(pkcs11Server=SERVER, networkPolicy={"enabled": True})
    policy = of_kind(chart, "NetworkPolicy")[f"{FULLNAME}-pkcs11-server"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(policy)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"pkcs11": {"hostPaths": ["opt"]}}, "hostPaths"),
        ({"pkcs11": {"hostPaths": ["/"]}}, "hostPaths"),
        ({"pkcs11": {"hostPaths": ["/a/../b"]}}, "hostPaths"),
        ({"pkcs11": {"hostPaths": ["/a,/b"]}}, "hostPaths"),
        ({"pkcs11Server": {"enabled": True}}, "token is not set"),
        ({"pkcs11Server": SERVER | {"token": "pkcs11:"}}, "token"),
        ({"pkcs11Server": SERVER | {"token": "pkcs11:model=x"}}, "token"),
        ({"pkcs11Server": SERVER | {"token": "pkcs11:token=x?write-protected=no"}}, "token"),
        ({"pkcs11Server": SERVER | {"token": "/usr/lib/module.so"}}, "token"),
        ({"pkcs11Server": SERVER | {"group": 0}}, "group"),
        ({"pkcs11Server": SERVER | {"user": 0}}, "user"),
        ({"pkcs11Server": SERVER | {"socketDirectory": "/run/$(id)"}}, "socketDirectory"),
    ],
)
def test_a_mistaken_value_is_refused_by_name(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HelmFailed, match=sentence):
        rendered(**values)
