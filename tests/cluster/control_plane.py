"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, and on request controllers.

No kubelet and no scheduler: pods are admitted, stored and counted, but stay Pending. Nothing of it
outlives the ``with`` block, and nothing of it is reachable from another machine.
"""

import secrets
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import yaml

from tests.cluster import audit, command_lines
from tests.cluster.audit import AuditFiles
from tests.cluster.binaries import Binaries
from tests.cluster.command_lines import WITHOUT_NODES, CommandLine, Network
from tests.cluster.kubeconfigs import write_kubeconfig
from tests.cluster.kubectl import PATIENCE, Kubectl, KubectlFailed
from tests.cluster.pki import KeyFiles, write_keys
from tests.cluster.processes import Process, running
from tests.cluster.readiness import Api, Dial, Watched, dial_from_here, wait_until
from tests.support.waiting import eventually

ADMIN: Final = "admin"
CONTROLLERS: Final = "system:kube-controller-manager"
# The group that may do everything; the API server's own roles provide for the other user.
USERS: Final[Mapping[str, str]] = {ADMIN: "system:masters", CONTROLLERS: ""}

# Made by a controller, for a namespace that the API server makes: when it is there, they work.
FIRST_DEED_OF_CONTROLLERS: Final = "/api/v1/namespaces/default/serviceaccounts/default"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane that answers; its files lie in ``folder`` for as long as it runs.

    ``kubectl`` speaks to it as cluster admin, by the kubeconfig at ``admin_kubeconfig``.
    """

    url: str
    ca_file: Path
    admin_kubeconfig: Path
    kubectl: Kubectl
    folder: Path
    processes: Sequence[Watched]
    audit: AuditFiles

    @classmethod
    @contextmanager
    def start(
        cls, binaries: Binaries, *, controllers: bool = False, flags: Sequence[str] = ()
    ) -> Iterator[Self]:
        """Run one for the length of the block, with kube-controller-manager if ``controllers``.

        ``flags`` are more of the API server's. Without controllers a Deployment makes no pods, and
        no namespace has the ServiceAccount that a pod needs. Raises ``ControlPlaneFailed``.
        """
        with (
            tempfile.TemporaryDirectory(prefix="kube-") as temporary,
            _reserved_port() as port,
            ExitStack() as started,
        ):
            network = command_lines.loopback(port)
            site = lay_out(Path(temporary), network, now=datetime.now(UTC))
            processes: list[Process] = []
            more = [*WITHOUT_NODES, *flags]
            for command, proof in steps(binaries, site, controllers=controllers, more=more):
                processes.append(started.enter_context(running(command, logs=site.folder)))
                if proof is not None:
                    wait_until(site.api, proof, processes)
            admin = site.kubeconfigs[ADMIN]
            yield cls(
                url=site.api.url,
                ca_file=site.keys.ca,
                admin_kubeconfig=admin,
                kubectl=Kubectl(binaries.kubectl, admin, cache=site.folder / "kubectl"),
                folder=site.folder,
                processes=tuple(processes),
                audit=site.audit,
            )

    def apply(self, manifest: str, *, namespace: str = "default") -> None:
        """Apply YAML or JSON as cluster admin; ``namespace`` is for objects that name none."""
        self.kubectl(
            "apply", "--server-side", "--filename=-", f"--namespace={namespace}", input=manifest
        )

    def define(self, *files: Path) -> None:
        """Have the API server know the CustomResourceDefinitions in ``files``, and serve them."""
        for file in files:
            self.apply(file.read_text())
        named = [f"--filename={file}" for file in files]
        self.kubectl("wait", "--for=condition=Established", *named, PATIENCE)
        # What is established is found by a client a moment later.
        kinds = [yaml.safe_load(file.read_text())["metadata"]["name"] for file in files]
        eventually(f"{kinds} are served", lambda: all(map(self._serves, kinds)))

    def _serves(self, kind: str) -> bool:
        try:
            self.kubectl("get", kind, "--namespace=default")
        except KubectlFailed:
            return False
        return True

    def kubeconfig_for(self, service_account: str, namespace: str) -> Path:
        """A kubeconfig that speaks as that ServiceAccount, by a token the API server signed."""
        token = self.kubectl("create", "token", service_account, f"--namespace={namespace}")
        return write_kubeconfig(
            self.folder / f"{namespace}.{service_account}.kubeconfig",
            url=self.url,
            ca_file=self.ca_file,
            token=token.strip(),
        )


@dataclass(frozen=True, slots=True)
class Site:
    """What lies in the folder before the first program starts."""

    folder: Path
    network: Network
    keys: KeyFiles
    tokens: Path
    kubeconfigs: Mapping[str, Path]
    audit: AuditFiles
    api: Api


def lay_out(
    folder: Path,
    network: Network,
    *,
    now: datetime,
    users: Mapping[str, str] = USERS,
    dial: Dial = dial_from_here,
) -> Site:
    """Write keys and kubeconfigs to ``folder``; ``users`` are names, each with its group."""
    keys = write_keys(folder, now=now, addresses=[network.address, network.own_service])
    tokens = {user: secrets.token_urlsafe(32) for user in users}
    api = Api(network.port, keys.ca, tokens[ADMIN], address=network.address, dial=dial)
    kubeconfigs = {
        user: write_kubeconfig(
            folder / f"{user}.kubeconfig", url=api.url, ca_file=keys.ca, token=token
        )
        for user, token in tokens.items()
    }
    known = _token_file(folder, [(token, user, users[user]) for user, token in tokens.items()])
    return Site(folder, network, keys, known, kubeconfigs, audit.write_policy(folder), api)


def _token_file(folder: Path, users: Sequence[tuple[str, str, str]]) -> Path:
    """The users there are from the start, as the API server reads them: token, name, id, group."""
    path = folder / "tokens.csv"
    path.touch(mode=0o600)
    path.write_text("".join(f"{token},{user},{user},{group}\n" for token, user, group in users))
    return path


def steps(
    binaries: Binaries, site: Site, *, controllers: bool, more: Sequence[str] = WITHOUT_NODES
) -> Iterator[tuple[CommandLine, str | None]]:
    """What to start, in order, and the path whose answer proves that it works.

    ``more`` are flags of the API server.
    """
    yield command_lines.etcd(binaries, site.folder), None
    yield (
        command_lines.kube_apiserver(
            binaries,
            site.folder,
            keys=site.keys,
            tokens=site.tokens,
            audit=site.audit,
            network=site.network,
            more=more,
        ),
        "/readyz",
    )
    if controllers:
        kubeconfig = site.kubeconfigs[CONTROLLERS]
        yield (
            command_lines.kube_controller_manager(binaries, keys=site.keys, kubeconfig=kubeconfig),
            FIRST_DEED_OF_CONTROLLERS,
        )


@contextmanager
def _reserved_port() -> Iterator[int]:
    """A free loopback port that stays ours for the length of the block.

    A socket that is bound but does not listen keeps the port, and takes no connection away from the
    server that shares it.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
