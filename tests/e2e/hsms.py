"""A node with an HSM, and the chart's p11-kit server before it.

The HSM is SoftHSM, whose tokens are folders; its module is in a vendor's image that is built on the
project's own. Pods reach the server's socket, and nothing else of the node.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e import breaking, pods, tokens
from tests.e2e.aws import Aws
from tests.e2e.harness import images
from tests.e2e.harness.cluster import Cluster
from tests.e2e.installation import Installation
from tests.e2e.teams import restarts
from tests.hardware import packages, softhsm
from tests.hardware.tokens import Token
from tests.support import debian

IMAGE: Final = Path(__file__).with_name("hsm")
NAMESPACE: Final = "hsm"
# Where the image has it, whatever the machine that makes the token.
MODULE: Final = "/usr/lib/softhsm/libsofthsm2.so"
USER: Final = 65532
GROUP: Final = 2323

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hsm:
    """``token`` is the node's; ``sockets`` is the folder of the node with the server's socket.

    The server is in ``namespace``, alone.
    """

    cluster: Cluster
    namespace: str
    token: Token
    sockets: Path

    def identity(self, **fields: Any) -> Mapping[str, Any]:
        """What a binding says of the key; ``fields`` are more of it, or others."""
        said = {
            "uri": self.token.uri(tokens.KEY),
            "pinSecretRef": tokens.PIN,
            "server": {"socketDirectory": str(self.sockets)},
            "runAsGroup": GROUP,
        }
        return {"pkcs11": {**said, **fields}}

    def pin(self) -> Manifest:
        """The Secret that `identity` names."""
        return tokens.pin(self.token)

    def certificate(self, name: str) -> Manifest:
        """A Secret with another certificate for the same key."""
        return tokens.certificate(self.token, name)

    def restarts(self) -> int:
        """How often the server was started again."""
        return restarts(self._server(), "server")

    def kill_the_server(self) -> None:
        """SIGKILL, as the kernel does it to who takes too much memory."""
        breaking.kill(self.cluster, breaking.containers(self._server())["server"])

    def _server(self) -> Manifest:
        [pod] = self.cluster.kubectl.get("pods", f"--namespace={self.namespace}")["items"]
        return dict(pod)


def vendors_image() -> images.Image:
    """The project's image with modules, and the vendor's module in it; with his tools at hand.

    Raises `ToolMissing`.
    """
    debian.packages(*packages.HSM)
    return images.build(IMAGE, name="e2e-hsm", over=images.project("sidecar-pkcs11"))


@contextmanager
def before_a_token(installed: Installation, aws: Aws, image: str) -> Iterator[Hsm]:
    """A node with an HSM and the server before it, and AWS trusting the token's certificates."""
    cluster = installed.cluster
    folder = cluster.folder / "node-hsm"
    token = softhsm.make(folder)
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, USER, GROUP)
    hsm = Hsm(cluster, NAMESPACE, token, cluster.folder / "node-hsm-sockets")
    server = {
        "image": image,
        "module": MODULE,
        "hostPaths": [str(folder)],
        "env": [{"name": name, "value": value} for name, value in token.env.items()],
    }
    with aws.trusting(token.root.certificate), serving(installed, hsm, server):
        yield hsm


@contextmanager
def serving(
    installed: Installation, hsm: Hsm, server: Mapping[str, Any], **values: Any
) -> Iterator[None]:
    """An upgrade of the release that runs the server of ``hsm``; ``values`` are the chart's."""
    usual = {
        "enabled": True,
        "namespace": hsm.namespace,
        "token": f"pkcs11:token={hsm.token.label}",
        "socketDirectory": str(hsm.sockets),
        "user": USER,
        "group": GROUP,
    }
    hsm.cluster.apply(json.dumps(pods.namespace(hsm.namespace, enforce="privileged")))
    with ExitStack() as afterwards:
        afterwards.callback(
            hsm.cluster.kubectl, "delete", "namespace", hsm.namespace, "--wait=false"
        )
        afterwards.callback(installed.upgrade)
        installed.upgrade({"pkcs11Server": {**usual, **server}, **values})
        yield
