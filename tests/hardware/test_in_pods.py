"""The chart's p11-kit server on a node, and an injected sidecar that reaches its token."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import jsonpatch
import pytest

from rolesanywhere_contract.names import (
    IDENTITY_DIRECTORY,
    PKCS11_STATE_DIRECTORY,
    SIDECAR_CONTAINER,
    TOKEN_DIRECTORY,
)
from rolesanywhere_operator.domain import bindings, injection, pods, selection
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.domain.decisions import Inject
from rolesanywhere_operator.domain.tokenwiring import SOCKET_DIRECTORY
from tests.cluster.binaries import find_or_build_helm
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN
from tests.hardware import p11kit, packages, softhsm
from tests.hardware.nodes import GROUP, SERVER_USER, Node, as_user, node, with_mounts
from tests.hardware.scenes import a_scene
from tests.hardware.softhsm import SoftHsm
from tests.hardware.tpm import Tpm
from tests.operator.builders import DEFAULTS, a_binding, a_pod
from tests.support import debian
from tests.support.sidecars import a_sidecar
from tests.support.tools import build_or_skip, skip

TOKENS: Final = (
    "import json, sys, pkcs11; print(json.dumps([slot.get_token().label"
    " for slot in pkcs11.lib(sys.argv[1]).get_slots(token_present=True)]))"
)
SIGN: Final = """
import sys, pkcs11
from pkcs11 import Attribute, Mechanism, ObjectClass
module, label, pin = sys.argv[1:]
session = pkcs11.lib(module).get_token(token_label=label).open(user_pin=pin)
key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="p256")
print(len(key.sign(bytes(32), mechanism=Mechanism.ECDSA)))
"""
# A message bus, and with it a resource manager, lets in no user whom the machine does not know.
NOBODY: Final = 65534
# What the sidecar's child process finds in its environment.
AS_THE_CHILD: Final = """
import os
from rolesanywhere_sidecar.identities.pkcs11 import stores
told = stores.lockable(os.environ)
os.environ.clear()
os.environ.update(told)
"""


@pytest.fixture
def on_a_node(hsm: SoftHsm, folder: Path) -> Node:
    """A node whose HSM is the server's own, ready for it."""
    if os.geteuid() != 0:
        skip("other users are tried by root alone")
    build_or_skip(lambda: debian.packages(*packages.SERVER))
    subprocess.run(["chown", "-R", f"{SERVER_USER}:{GROUP}", hsm.folder], check=True)
    made = node(build_or_skip(find_or_build_helm), hsm.token, folder)
    made.prepare()
    return made


def asked(by: tuple[str, ...], where: Node, code: str, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a client's Python ``code``."""
    address = where.environment["P11_KIT_SERVER_ADDRESS"]
    done = subprocess.run(
        [*with_mounts({}), *by, sys.executable, "-c", code, str(p11kit.CLIENT), *arguments],
        env={"P11_KIT_SERVER_ADDRESS": address, "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout.strip()


def tokens(by: tuple[str, ...], where: Node) -> list[str]:
    code, told = asked(by, where, TOKENS)
    return json.loads(told) if code == 0 else []


def test_the_sockets_folder_is_the_servers_and_open_to_its_group(on_a_node: Node) -> None:
    found = on_a_node.sockets.stat()
    assert (found.st_uid, found.st_gid, oct(found.st_mode & 0o7777)) == (
        SERVER_USER, GROUP, "0o750",
    )  # fmt: skip


def test_preparing_again_after_a_restart_changes_nothing(on_a_node: Node) -> None:
    before = on_a_node.sockets.stat()
    on_a_node.prepare()
    after = on_a_node.sockets.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (
        before.st_uid, before.st_gid, before.st_mode,
    )  # fmt: skip


def test_only_the_primary_group_is_let_in(on_a_node: Node, hsm: SoftHsm) -> None:
    label, pin = hsm.token.label, hsm.token.pin
    with on_a_node.served():
        assert asked(as_user(40_000, GROUP), on_a_node, SIGN, label, pin) == (0, "64")
        assert tokens(as_user(40_000, GROUP), on_a_node) == [label]
        assert tokens(as_user(40_000, 40_000), on_a_node) == []
        assert tokens(as_user(40_000, 40_000, GROUP), on_a_node) == []
        assert tokens(as_user(SERVER_USER, 40_000), on_a_node) == []


def test_no_other_token_of_the_module_is_shown(on_a_node: Node, hsm: SoftHsm) -> None:
    softhsm.initialize(hsm.token.env, "somebody-elses", "11112222")
    subprocess.run(["chown", "-R", f"{SERVER_USER}:{GROUP}", hsm.folder], check=True)
    with on_a_node.served():
        assert tokens(as_user(40_000, GROUP), on_a_node) == [hsm.token.label]


def test_a_server_that_was_killed_comes_back_over_its_old_socket(
    on_a_node: Node, hsm: SoftHsm
) -> None:
    with on_a_node.served():
        assert tokens(as_user(40_000, GROUP), on_a_node) == [hsm.token.label]
    assert list(on_a_node.sockets.iterdir()), "SIGKILL leaves the socket, and nobody at it"
    with on_a_node.served():
        assert tokens(as_user(40_000, GROUP), on_a_node) == [hsm.token.label]


def test_the_probe_tells_a_server_that_shows_its_token(on_a_node: Node, hsm: SoftHsm) -> None:
    with on_a_node.served():
        assert on_a_node.probed().returncode == 0
        hsm.store.rename(hsm.folder / "away")
        gone = on_a_node.probed()
        assert gone.returncode != 0
    assert on_a_node.probed().returncode != 0


def injected(where: Node, endpoint: str, **fields: Any) -> Any:
    """The sidecar's container in a pod of a binding that uses the node's server."""
    raw = {
        "metadata": {"name": "reports", "namespace": "team-a"},
        "spec": {
            "trustAnchorArn": TRUST_ANCHOR_ARN,
            "profileArn": PROFILE_ARN,
            "roleArn": ROLE_ARN,
            "endpoint": endpoint,
            "identity": {
                "pkcs11": {
                    "server": {"socketDirectory": str(where.sockets)},
                    # The image has it elsewhere.
                    "modulePath": str(p11kit.CLIENT),
                    "runAsGroup": GROUP,
                    **fields,
                }
            },
        },
    }
    binding = bindings.parse(raw, host_paths=frozenset({str(where.sockets)}))
    assert bindings.folders(binding) == (str(where.sockets),)
    return sidecar_of(binding)


def sidecar_of(binding: Binding) -> Any:
    """The sidecar's container in a pod of ``binding``."""
    pod = a_pod()
    decision = selection.decide(pod, "team-a", {"reports": binding})
    assert isinstance(decision, Inject)
    after = jsonpatch.apply_patch(pod, injection.inject(pod, decision, defaults=DEFAULTS))
    return next(one for one in pods.init_containers(after) if one["name"] == SIDECAR_CONTAINER)


@pytest.mark.parametrize("certificate", ["in the token", "in a Secret"])
async def test_an_injected_sidecar_has_credentials_by_the_nodes_token(
    on_a_node: Node, hsm: SoftHsm, folder: Path, certificate: str
) -> None:
    home, identity, state = folder / "home", folder / "identity", folder / "state"
    for path in (home, identity, state):
        path.mkdir()
        os.chown(path, SERVER_USER, GROUP)
    (identity / "pin").write_text(hsm.token.pin)
    (identity / "tls.crt").write_bytes(hsm.token.keys["p256"].pem)
    with on_a_node.served():
        async with a_scene(hsm.token, home) as scene:
            secret = {"certificateSecretRef": {"name": "tls"}} if "Secret" in certificate else {}
            container = injected(
                on_a_node,
                scene.aws.rolesanywhere_url,
                uri=hsm.token.uri("p256"),
                pinSecretRef={"name": "pin", "key": "pin"},
                **secret,
            )
            context = container["securityContext"]
            folders = {
                IDENTITY_DIRECTORY: identity,
                TOKEN_DIRECTORY: home,
                PKCS11_STATE_DIRECTORY: state,
                SOCKET_DIRECTORY: on_a_node.sockets,
            }
            mounted = {one["mountPath"]: one for one in container["volumeMounts"]}
            assert folders.keys() <= mounted.keys()
            read_only = [path for path in folders if mounted[path].get("readOnly")]
            assert read_only == [IDENTITY_DIRECTORY, SOCKET_DIRECTORY]
            by = (
                *with_mounts(folders, read_only=read_only),
                *as_user(context["runAsUser"], context["runAsGroup"]),
            )
            told = {one["name"]: one["value"] for one in container["env"]}
            async with a_sidecar(home, told, by=by) as sidecar:
                await sidecar.until_ready()
                assert ":assumed-role/" in (await scene.who_am_i(sidecar))["arn"]
            assert scene.granted() == 1
            assert hsm.token.pin not in sidecar.log
    assert [path.name for path in state.iterdir()] != []


def test_a_tpms_store_is_read_though_nobody_may_write_there(healthy_tpm: Tpm, folder: Path) -> None:
    if os.geteuid() != 0:
        skip("mounts are made by root alone")
    token, state = healthy_tpm.token, folder / "state"
    store = Path(token.env["TPM2_PKCS11_STORE"])
    state.mkdir()
    os.chown(state, NOBODY, GROUP)
    spec = {
        "uri": token.uri("p256"),
        "modulePath": str(token.module),
        "device": {"resourceName": "example.com/tpm"},
        "hostPaths": [str(store)],
        "env": [{"name": name, "value": value} for name, value in token.env.items()],
    }
    container = sidecar_of(a_binding(identity={"pkcs11": spec}))
    told = {one["name"]: one["value"] for one in container["env"]}
    folders = {PKCS11_STATE_DIRECTORY: state, str(store): store}
    mounted = {one["mountPath"]: one for one in container["volumeMounts"]}
    read_only = [path for path in folders if mounted[path].get("readOnly")]
    assert read_only == [str(store)]
    done = subprocess.run(
        [*with_mounts(folders, read_only=read_only), *as_user(NOBODY, GROUP),
         sys.executable, "-c", AS_THE_CHILD + SIGN, str(token.module), token.label, token.pin],
        env={"PATH": os.environ["PATH"], **told}, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "64"), done.stderr
