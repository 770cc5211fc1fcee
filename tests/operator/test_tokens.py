"""``identity.pkcs11``: what is read, what a sidecar is told and given, and that nobody else is."""

import json
import re
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.names import PIN_LATCH_PATH, SIDECAR_CONTAINER, TOKEN_VOLUME
from rolesanywhere_contract.settings import Settings
from rolesanywhere_operator.domain import (
    bindings,
    injection,
    nodepaths,
    pods,
    podsecurity,
    selection,
    tokenspec,
)
from rolesanywhere_operator.domain.bindings import InvalidBinding
from rolesanywhere_operator.domain.decisions import Inject, Leave, Reason, Refuse
from rolesanywhere_operator.domain.identities import SOCKET_FILE, TokenIdentity
from rolesanywhere_operator.domain.sidecardefaults import SidecarDefaults
from tests.control_plane.test_crd import BAD, GOOD
from tests.operator.builders import (
    DEFAULTS,
    IMAGE,
    PKCS11_IMAGE,
    a_binding,
    a_container,
    a_pod,
    a_raw_binding,
)
from tests.operator.test_crd import SPEC
from tests.operator.test_identities import FOLDER, of_kinds

URI = "pkcs11:token=node;object=workload"
SERVER = {"socketDirectory": "/run/node-pkcs11"}
FIELDS = SPEC["identity"]["properties"]["pkcs11"]["properties"]


def a_token(**fields: Any) -> bindings.Binding:
    return a_binding(identity={"pkcs11": {"uri": URI, **fields}})


def mistakes_of(**fields: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidBinding) as caught:
        a_token(**fields)
    return caught.value.mistakes


def injected(binding: bindings.Binding, pod: Any) -> Any:
    decision = selection.decide(pod, "team-a", {binding.name: binding})
    assert isinstance(decision, Inject)
    operations = injection.inject(pod, decision, defaults=DEFAULTS)
    return jsonpatch.apply_patch(pod, operations)


def test_what_is_in_the_token_is_told_as_a_uri_and_what_is_not_as_a_file() -> None:
    told = a_token(pinSecretRef={"name": "pin", "key": "user"}).settings
    assert (told.certificate, told.private_key) == (URI, URI)
    assert told.pin_file == f"{FOLDER}/pin"
    assert told.pin_latch_file == PIN_LATCH_PATH
    assert told.pkcs11_module is None
    told = a_token(certificateSecretRef={"name": "tls"}).settings
    assert (told.certificate, told.private_key) == (f"{FOLDER}/tls.crt", URI)
    assert (told.pin_file, told.pin_latch_file) == (None, None)


def test_a_certificate_beside_a_key_is_not_looked_for_among_keys() -> None:
    told = a_token(uri=f"{URI};type=private").settings
    assert told.private_key == f"{URI};type=private"
    assert told.certificate == URI


def test_what_the_sidecar_is_told_survives_its_environment() -> None:
    told = a_token(server=SERVER, pinSecretRef={"name": "pin", "key": "user"}).settings
    assert Settings.from_env(told.to_env()) == told


def test_a_server_is_reached_by_its_client_unless_the_binding_says_otherwise() -> None:
    assert a_token(server=SERVER).settings.pkcs11_module == "/usr/lib/pkcs11/p11-kit-client.so"
    own = a_token(server=SERVER, modulePath="/opt/x.so").settings
    assert own.pkcs11_module == "/opt/x.so"


def test_the_image_with_modules_is_for_tokens_alone() -> None:
    assert DEFAULTS.image_for(a_token()) == PKCS11_IMAGE
    assert DEFAULTS.image_for(a_binding()) == IMAGE
    assert SidecarDefaults(image=IMAGE).image_for(a_token()) == IMAGE


def test_a_device_is_asked_for_beside_what_the_binding_asks_for() -> None:
    device = {"resourceName": "example.com/tpm"}
    [sidecar] = injected(a_token(device=device), a_pod())["spec"]["initContainers"]
    assert sidecar["resources"]["limits"] == {"example.com/tpm": 1, "memory": "128Mi"}
    raw = a_raw_binding(identity={"pkcs11": {"uri": URI, "device": device}})
    raw["spec"]["sidecar"] = {"resources": {"requests": {"cpu": "1m"}}}
    [sidecar] = injected(bindings.parse(raw), a_pod())["spec"]["initContainers"]
    assert sidecar["resources"] == {
        "requests": {"cpu": "1m"}, "limits": {"example.com/tpm": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"uri": ""}, "uri: is missing or no text, expected a PKCS#11 URI"),
        ({"uri": "file:/key"}, "does not begin with pkcs11:"),
        ({"uri": "pkcs11:token=a b"}, "token"),
        ({"uri": "pkcs11:type=cert"}, "is of type=cert; expected type=private"),
        ({"uri": "pkcs11:token=a?module-path=/x.so"}, "code is not loaded for a URI"),
        ({"uri": "pkcs11:token=a?pin-source=file:/pin"}, "name that in pinSecretRef"),
        ({"modulePath": "x.so"}, "modulePath: 'x.so' is not the absolute path of a file"),
        ({"modulePath": "/a/../x.so"}, "modulePath: '/a/../x.so' is not the absolute path"),
        ({"pinSecretRef": {"name": "a"}}, "pinSecretRef: has no key that a Secret can have, exp"),
        ({"certificateSecretRef": {}}, "certificateSecretRef: has no name that a Secret can h"),
        ({"server": {}}, "server: is missing or no text, expected socketDirectory"),
        ({"server": {"socketDirectory": "/run/a/../b"}}, "server: '/run/a/../b' is not a folder"),
        ({"server": SERVER | {"socketName": ".."}}, "server: socketName is '..', expected"),
        ({"device": {"resourceName": "tpm"}}, "device: resourceName is 'tpm', expected"),
        ({"hostPaths": ["/"]}, "hostPaths: '/' is not a folder of a node"),
        ({"hostPaths": ["/usr"]}, "hostPaths: '/usr' would hide what the sidecar's own image"),
        ({"hostPaths": ["/app/x"]}, "hostPaths: '/app/x' would hide"),
        ({"hostPaths": ["/var/run/secrets"]}, "hostPaths: '/var/run/secrets' would hide"),
        ({"env": [{"name": "a-b", "value": ""}]}, "env: 'a-b' is not the name of a variable"),
        ({"env": [{"name": "LD_PRELOAD", "value": "x"}]}, "env: LD_PRELOAD begins with one of"),
        ({"env": [{"name": "PYTHONPATH", "value": "x"}]}, "env: PYTHONPATH begins with one of"),
        ({"env": [{"name": "AWS_REGION", "value": "x"}]}, "env: AWS_REGION begins with one of"),
        ({"env": [{"name": "ROLESANYWHERE_PORT"}]}, "env: ROLESANYWHERE_PORT begins with one of"),
        ({"runAsGroup": 0}, "runAsGroup: got 0, expected a group's number, 1 to 2147483647"),
        ({"runAsGroup": True}, "runAsGroup: got True"),
        (
            {"server": SERVER, "device": {"resourceName": "a.b/c"}},
            "has server and device, expected one",
        ),
        (
            {"server": SERVER, "env": [{"name": "P11_KIT_SERVER_ADDRESS", "value": "x"}]},
            "env: P11_KIT_SERVER_ADDRESS is set by the operator for server",
        ),
    ],
)
def test_a_mistake_is_told_with_its_field_and_what_to_do(fields: Any, words: str) -> None:
    [mistake] = mistakes_of(**fields)
    assert mistake.startswith("spec.identity.pkcs11")
    assert words in mistake


def test_a_pin_in_a_uri_is_not_repeated_by_those_who_refuse_it() -> None:
    assert "4711" not in str(mistakes_of(uri=f"{URI}?pin-value=4711"))


def test_every_mistake_is_named_at_once() -> None:
    found = mistakes_of(uri="x", modulePath="y", hostPaths=["z"], runAsGroup=-1)
    assert len(found) == 4


@pytest.mark.parametrize("what", of_kinds(GOOD, "pkcs11"))
def test_what_the_schema_takes_makes_sense(what: str) -> None:
    bindings.parse(a_raw_binding(**GOOD[what]))


@pytest.mark.parametrize("what", of_kinds(BAD, "pkcs11"))
def test_what_the_schema_refuses_is_refused_without_it(what: str) -> None:
    with pytest.raises(InvalidBinding, match=r"spec\.identity"):
        bindings.parse(a_raw_binding(**BAD[what][0]))


def test_schema_and_reader_agree_on_what_there_is() -> None:
    assert FIELDS["server"]["properties"]["socketName"]["default"] == SOCKET_FILE
    group = FIELDS["runAsGroup"]
    assert range(group["minimum"], group["maximum"] + 1) == tokenspec.GROUPS
    rules = [rule["rule"] for rule in
             FIELDS["env"]["items"]["properties"]["name"]["x-kubernetes-validations"]]  # fmt: skip
    told = {word for rule in rules for word in re.findall(r"!self\.startsWith\('(\w+)'\)", rule)}
    assert told == set(tokenspec.RESERVED_PREFIXES)
    assert FIELDS["hostPaths"]["items"]["maxLength"] == nodepaths.LONGEST


folders = st.builds("/opt/{}".format, st.text("abcx", min_size=1, max_size=3))
specs = st.fixed_dictionaries(
    {},
    optional={
        "pinSecretRef": st.just({"name": "very-own-pin", "key": "user"}),
        "certificateSecretRef": st.just({"name": "very-own-tls"}),
        "server": st.builds(lambda path: {"socketDirectory": path}, folders),
        "hostPaths": st.lists(folders, max_size=3),
        "env": st.just([{"name": "VENDOR_CONF", "value": "$(POD_NAME)"}]),
        "runAsGroup": st.integers(1, 70_000),
        "modulePath": st.just("/opt/x.so"),
    },
)


@settings(deadline=None)
@given(specs)
def test_a_container_is_given_nothing_of_what_leads_to_the_token(spec: dict[str, Any]) -> None:
    before = a_pod(
        a_container(env=[{"name": "A", "value": "b"}]), initContainers=[a_container("i")]
    )
    after = injected(a_token(**spec), before)
    ours = {volume["name"] for volume in pods.volumes(after)} - {TOKEN_VOLUME}
    for container in pods.every_container(after):
        if container["name"] == SIDECAR_CONTAINER:
            continue
        assert not ours & {mount["name"] for mount in pods.mounts(container)}
        assert "securityContext" not in container
        assert "resources" not in container
        told = json.dumps(container)
        assert not re.search(r"pkcs11|P11_KIT|VENDOR|very-own|/opt/", told, re.IGNORECASE)


@settings(deadline=None)
@given(specs)
def test_every_folder_of_the_node_is_read_only_and_has_to_be_there(spec: dict[str, Any]) -> None:
    binding = a_token(**spec)
    after = injected(binding, a_pod())
    paths = {one["name"]: one["hostPath"] for one in pods.volumes(after) if "hostPath" in one}
    assert {path["type"] for path in paths.values()} <= {"Directory"}
    assert {path["path"] for path in paths.values()} == set(bindings.folders(binding))
    mounted = {mount["name"]: mount for mount in pods.mounts(after["spec"]["initContainers"][0])}
    assert all(mounted[name]["readOnly"] is True for name in paths)
    assert len({mount["mountPath"] for mount in mounted.values()}) == len(mounted)


@settings(deadline=None)
@given(specs)
def test_injecting_a_token_twice_changes_nothing_more(spec: dict[str, Any]) -> None:
    binding = a_token(**spec)
    once = injected(binding, a_pod())
    assert injected(binding, once) == once


@settings(deadline=None)
@given(specs, st.frozensets(folders))
def test_a_binding_is_served_where_all_of_its_folders_are_allowed(
    spec: dict[str, Any], allowed: frozenset[str]
) -> None:
    raw = a_raw_binding(identity={"pkcs11": {"uri": URI, **spec}})
    binding = bindings.parse(raw, host_paths=allowed)
    needed = set(bindings.folders(binding))
    problem = bindings.not_allowed(binding)
    assert (problem is None) == (needed <= allowed)
    decision = selection.decide(a_pod(), "team-a", {"reports": binding})
    if problem is None:
        assert isinstance(decision, Inject)
    else:
        assert isinstance(decision, Refuse)
        assert decision.reason == Reason.HOST_PATH_NOT_ALLOWED
        assert all(path in decision.sentence for path in needed - allowed)


def test_a_list_that_nobody_knows_refuses_nothing_and_an_empty_one_everything() -> None:
    raw = a_raw_binding(identity={"pkcs11": {"uri": URI, "server": SERVER}})
    assert bindings.not_allowed(bindings.parse(raw)) is None
    assert bindings.not_allowed(bindings.parse(raw, host_paths=frozenset())) is not None


@pytest.mark.parametrize("level", ["baseline", "restricted", "privileged", None])
def test_pod_security_refuses_folders_of_the_node_before_the_api_server_does(
    level: str | None,
) -> None:
    labels = {} if level is None else {podsecurity.ENFORCE: level}
    enforced = podsecurity.level({"metadata": {"name": "team-a", "labels": labels}})
    assert enforced == level
    with_folder = Inject(Reason.BINDING_NAMED, a_token(server=SERVER), ("app",))
    without = Inject(Reason.BINDING_NAMED, a_token(device={"resourceName": "a.b/c"}), ("app",))
    left = Leave(Reason.NOT_ASKED)
    assert podsecurity.judged(without, enforced) is without
    assert podsecurity.judged(left, enforced) is left
    judged = podsecurity.judged(with_folder, enforced)
    if level in ("baseline", "restricted"):
        assert isinstance(judged, Refuse)
        assert judged.reason == Reason.POD_SECURITY_FORBIDS
        assert f"/run/node-pkcs11 of the node as a hostPath volume, which Pod Security {level}" in (
            judged.sentence
        )
    else:
        assert judged is with_folder


def test_a_namespace_without_labels_says_nothing() -> None:
    assert podsecurity.level({"metadata": {"name": "team-a", "labels": None}}) is None


@given(st.text("/.ab,", max_size=8))
def test_a_folder_of_a_node_has_one_spelling(path: str) -> None:
    try:
        assert nodepaths.checked(path) == path
    except ValueError:
        return
    assert path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/")[1:])


@pytest.mark.parametrize(
    "path",
    ["/app", "/dev/tpmrm0", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu",
     "/usr/local/lib/python3.13/site-packages", "/usr/lib/python3"],
)  # fmt: skip
def test_a_folder_that_the_sidecar_itself_runs_on_cannot_be_mounted(path: str) -> None:
    """The node's C library over the image's would end it before it could say a word."""
    with pytest.raises(ValueError, match="would hide what the sidecar's own image has there"):
        nodepaths.mountable(path)


@pytest.mark.parametrize(
    "path",
    ["/opt/vendor", "/usr/lib/vendor", "/usr/lib/x86_64-linux-gnu/vendor", "/etc/vendor",
     "/run/p11-kit"],
)  # fmt: skip
def test_a_vendors_own_folder_can_be_mounted(path: str) -> None:
    assert nodepaths.mountable(path) == path


def test_a_token_identity_never_shows_a_pin() -> None:
    identity = a_token(pinSecretRef={"name": "pin", "key": "user"}).identity
    assert isinstance(identity, TokenIdentity)
    assert str(identity) == URI
