"""A node with a TPM whose device a plugin of the kubelet hands out, as a vendor's would.

The TPM is swtpm with a resource manager. Its device is a file of the kind that `tpmdevice` makes,
a terminal: a character device that its group may open, at the path of a TPM's, which the module
reads and writes as one. Kernels that can make a real one of swtpm (tpm_vtpm_proxy, CUSE) are rare.
So the plugin gives it as a mount, as terminals are nothing outside their own file system, and what
is not tried is the kubelet's list of devices for the container's control group.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cluster.processes import running
from tests.e2e import tokens
from tests.e2e.aws import Aws
from tests.e2e.harness.cluster import Cluster
from tests.e2e.harness.configuration import NODE
from tests.e2e.hsms import GROUP, Hsm, serving
from tests.e2e.installation import Installation
from tests.hardware import packages, tpm, tpmdevice
from tests.hardware.tokens import DOCUMENT, written_down
from tests.hardware.tpm import Blueprint, Tpm
from tests.support import debian, gotools
from tests.support.waiting import eventually

PLUGIN: Final = gotools.TOOLS / "device-plugin"
NAMESPACE: Final = "tpm"
NOBODY: Final = 65534
# The image's path, whatever its processor.
MODULE: Final = "/usr/lib/pkcs11/libtpm2_pkcs11.so"
DEVICE: Final = "/dev/tpmrm0"

# What the plugin offers: the device; the device, and the store with its keys at `STORE`, so that
# nobody needs a folder of the node; and, for a server that opens the TPM once for each of its
# clients, what a terminal does not let it, the resource manager's own socket.
RESOURCE: Final = "tests.rolesanywhere.dev/tpm"
WITH_STORE: Final = f"{RESOURCE}-with-store"
MANAGER: Final = f"{RESOURCE}-manager"
STORE: Final = "/run/tpm/store"
BUS: Final = "/run/tpm/bus"
OF_EACH: Final = 2

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NodeTpm:
    """``chip`` is the TPM; ``hsm`` is the chart's server before it."""

    chip: Tpm
    hsm: Hsm

    @property
    def store(self) -> Path:
        return _store(self.chip)

    def identity(self, resource: str, store: str, **fields: Any) -> Mapping[str, Any]:
        """What a binding says of the key by the device; ``fields`` are more of it."""
        said = {
            "uri": self.chip.token.uri(tokens.KEY),
            "modulePath": MODULE,
            "pinSecretRef": tokens.PIN,
            "device": {"resourceName": resource},
            "runAsGroup": GROUP,
            "env": [
                {"name": "TPM2_PKCS11_STORE", "value": store},
                {"name": "TPM2_PKCS11_TCTI", "value": f"device:{DEVICE}"},
            ],
        }
        return {"pkcs11": {**said, **fields}}


def prepare() -> Path:
    """The plugin's program, with all else that a TPM takes at hand. Raises `ToolMissing`."""
    debian.packages(*packages.TPM)
    return gotools.build_program(PLUGIN)


@contextmanager
def on_the_node(installed: Installation, aws: Aws, plugin: Path) -> Iterator[NodeTpm]:
    """A TPM, its devices offered, the chart's server before it, and AWS trusting its key."""
    cluster = installed.cluster
    with (
        _chip(cluster.folder) as chip,
        _devices(chip, cluster.folder) as devices,
        _offered(cluster, plugin, _offers(chip, devices)),
        aws.trusting(chip.token.root.certificate),
    ):
        hsm = Hsm(cluster, NAMESPACE, chip.token, cluster.folder / "node-tpm-sockets")
        with serving(installed, hsm, _server(chip), pkcs11={"hostPaths": [str(_store(chip))]}):
            yield NodeTpm(chip, hsm)


@contextmanager
def _chip(folder: Path) -> Iterator[Tpm]:
    """With one key, in a store that `GROUP` may read."""
    made = folder / "made-tpm"
    token = tpm.make(made, [tokens.KEY])
    (made / DOCUMENT).write_text(written_down(token))
    with Blueprint(made).started(folder / "node-tpm") as chip:
        store = _store(chip)
        for path in (store, *store.iterdir()):
            shutil.chown(path, group=GROUP)
            path.chmod(0o750 if path is store else 0o640)
        yield chip


@contextmanager
def _devices(chip: Tpm, logs: Path) -> Iterator[Sequence[str]]:
    """Paths of device files, for who asks for one and for who asks for one with the store."""
    wanted = 2 * OF_EACH
    command = [sys.executable, "-I", tpmdevice.__file__, str(wanted), str(GROUP)]
    env = {"PATH": os.environ["PATH"], **chip.env}
    with running(command, logs=logs, env=env) as process:

        def made() -> Sequence[str]:
            assert process.exit_code() is None, process.tail()
            found = process.log.read_text().split()
            return found if len(found) == wanted else ()

        yield eventually("there are device files", made)


@contextmanager
def _offered(cluster: Cluster, plugin: Path, offers: Mapping[str, Any]) -> Iterator[None]:
    """The kubelet has these resources to hand out, and the API server knows it."""
    config = cluster.folder / "device-plugin.json"
    config.write_text(json.dumps(offers))
    service = cluster.sandbox.start(PLUGIN.name, [plugin, config])

    def known() -> bool:
        assert service.exit_code() is None, service.tail()
        allocatable = cluster.kubectl.get(f"node/{NODE}")["status"]["allocatable"]
        return all(int(allocatable.get(name, 0)) == len(of) for name, of in offers.items())

    try:
        eventually("the node has what the plugin offers", known)
        yield
    finally:
        service.end()


def _offers(chip: Tpm, devices: Sequence[str]) -> Mapping[str, Any]:
    store = {"at": STORE, "of": str(_store(chip)), "readOnly": True}
    bus = {"at": BUS, "of": str(chip.folder / "bus")}

    def device(path: str, *more: Json) -> Json:
        return {"mounts": [{"at": DEVICE, "of": path}, *more]}

    return {
        RESOURCE: {Path(path).name: device(path) for path in devices[:OF_EACH]},
        WITH_STORE: {Path(path).name: device(path, store) for path in devices[OF_EACH:]},
        MANAGER: {
            "bus": {"mounts": [bus], "env": {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={BUS}"}}
        },
    }


def _server(chip: Tpm) -> Mapping[str, Any]:
    """What the chart is told of the server, beside what it is told of every server."""
    return {
        # A message bus lets in no user whom its machine does not know.
        "user": NOBODY,
        "deviceResource": MANAGER,
        "store": str(_store(chip)),
        "env": [
            {"name": name, "value": chip.env[name]} for name in ("TPM2_PKCS11_TCTI", "TSS2_LOG")
        ],
    }


def _store(chip: Tpm) -> Path:
    return Path(chip.env["TPM2_PKCS11_STORE"])
