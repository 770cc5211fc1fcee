"""A node with an HSM, and the chart's p11-kit server before it.

The HSM is SoftHSM, whose tokens are folders; its module is in a vendor's image that is built on the
project's own. Pods reach the server's socket, and nothing else of the node.
"""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.e2e import pods
from tests.e2e.aws import Aws
from tests.e2e.harness import images
from tests.e2e.harness.cluster import Cluster
from tests.e2e.harness.configuration import CONTAINERD_SOCKET
from tests.e2e.installation import Installation
from tests.e2e.teams import restarts
from tests.fakes.scene import trusting
from tests.hardware import packages, softhsm
from tests.hardware.tokens import Token, certified
from tests.hardware.workbench import Algorithm
from tests.support import debian

IMAGE: Final = Path(__file__).with_name("hsm")
NAMESPACE: Final = "hsm"
# Where the image has it, whatever the machine that makes the token.
MODULE: Final = "/usr/lib/softhsm/libsofthsm2.so"
USER: Final = 65532
GROUP: Final = 2323
KEY: Final[Algorithm] = "p256"

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hsm:
    """``token`` is the node's; ``sockets`` is the folder of the node with the server's socket."""

    cluster: Cluster
    token: Token
    sockets: Path

    def identity(self, **fields: Any) -> Mapping[str, Any]:
        """What a binding says of the key; ``fields`` are more of it, or others."""
        said = {
            "uri": self.token.uri(KEY),
            "pinSecretRef": {"name": "node-pin", "key": "pin"},
            "server": {"socketDirectory": str(self.sockets)},
            "runAsGroup": GROUP,
        }
        return {"pkcs11": {**said, **fields}}

    def pin(self) -> Manifest:
        """The Secret that `identity` names."""
        return _secret("node-pin", {"pin": self.token.pin})

    def certificate(self, name: str) -> Manifest:
        """A Secret with another certificate for the same key."""
        public = self.token.keys[KEY].certificate.public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        made = certified(self.token.root, der)
        return _secret(name, {"tls.crt": made.public_bytes(Encoding.PEM).decode()})

    def restarts(self) -> int:
        """How often the server was started again."""
        return restarts(self._server(), "server")

    def is_ready(self) -> bool:
        """Whether the server shows its token."""
        return bool(self._server()["status"]["containerStatuses"][0]["ready"])

    def kill_the_server(self) -> None:
        """SIGKILL, as the kernel does it to who takes too much memory."""
        [status] = self._server()["status"]["containerStatuses"]
        identifier = status["containerID"].removeprefix("containerd://")
        inside = self.cluster.sandbox.inside
        tasks = subprocess.run(
            inside(["ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io", "tasks", "ls"]),
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        [pid] = [line.split()[1] for line in tasks.splitlines() if line.startswith(identifier)]
        subprocess.run(inside(["kill", f"-{signal.SIGKILL.value}", pid]), check=True)

    def _server(self) -> Manifest:
        [pod] = self.cluster.kubectl.get("pods", f"--namespace={NAMESPACE}")["items"]
        return dict(pod)


def vendors_image() -> images.Image:
    """The project's image with modules, and the vendor's module in it; with his tools at hand.

    Raises `ToolMissing`.
    """
    debian.packages(*packages.HSM)
    return images.build(IMAGE, name="e2e-hsm", over=images.project("sidecar-pkcs11"))


@contextmanager
def before_a_token(installed: Installation, aws: Aws, image: str) -> Iterator[Hsm]:
    """An upgrade of the release that runs the server, and AWS trusting the token's certificates."""
    cluster = installed.cluster
    folder, sockets = cluster.folder / "node-hsm", cluster.folder / "node-hsm-sockets"
    token = softhsm.make(folder)
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, USER, GROUP)
    cluster.apply(json.dumps(pods.namespace(NAMESPACE, enforce="privileged")))
    account, known = aws.services.account, aws.services.account.world
    account.world = trusting(known, aws.workloads.certificate, token.root.certificate)
    try:
        installed.upgrade({"pkcs11Server": _values(token, folder, sockets, image)})
        yield Hsm(cluster, token, sockets)
    finally:
        account.world = known
        installed.upgrade()
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _values(token: Token, folder: Path, sockets: Path, image: str) -> Mapping[str, Any]:
    return {
        "enabled": True,
        "namespace": NAMESPACE,
        "image": image,
        "token": f"pkcs11:token={token.label}",
        "module": MODULE,
        "socketDirectory": str(sockets),
        "user": USER,
        "group": GROUP,
        "hostPaths": [str(folder)],
        "env": [{"name": name, "value": value} for name, value in token.env.items()],
    }


def _secret(name: str, content: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": dict(content),
    }
