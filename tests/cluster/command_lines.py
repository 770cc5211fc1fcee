"""How the programs of a test control plane are called: every flag that is not a default, and why.

Pure: nothing is started here. No secret is in an argument; those lie in files.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.audit import AuditFiles
from tests.cluster.binaries import Binaries
from tests.cluster.pki import KeyFiles

CommandLine = Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Network:
    """Where an API server answers, and the range that it gives Services."""

    address: str
    port: int
    services: str

    @property
    def own_service(self) -> str:
        """What pods reach it by: the Service `kubernetes` has the first address of all."""
        return str(ipaddress.ip_network(self.services)[1])


def loopback(port: int) -> Network:
    """For an API server without nodes: no Service is reached by its address there."""
    return Network("127.0.0.1", port, services="10.0.0.0/24")


# No pod could reach the API server by the Service `kubernetes`, and nobody is a node.
WITHOUT_NODES: Final = ("--endpoint-reconciler-type=none", "--authorization-mode=RBAC")


def etcd(binaries: Binaries, folder: Path) -> CommandLine:
    """A store of one member, gone with ``folder``."""
    return [
        binaries.etcd,
        f"--data-dir={folder / 'etcd'}",
        # Sockets in our own folder (etcd 3.5 or newer): no port to lose to another run, and no
        # other user comes near.
        f"--listen-client-urls={_etcd_url(folder)}",
        f"--listen-peer-urls=unix://{folder}/etcd-peer.sock",
        # A socket may not be advertised; nobody asks, for the API server is told where it is.
        "--advertise-client-urls=http://127.0.0.1:1",
        # What it holds is thrown away, so it need not survive a power cut.
        "--unsafe-no-fsync",
    ]


def kube_apiserver(
    binaries: Binaries,
    folder: Path,
    *,
    keys: KeyFiles,
    tokens: Path,
    audit: AuditFiles,
    network: Network,
    more: Sequence[str] = WITHOUT_NODES,
) -> CommandLine:
    """The API, with RBAC, for the users in ``tokens`` and every ServiceAccount."""
    return [
        binaries.kube_apiserver,
        f"--etcd-servers={_etcd_url(folder)}",
        f"--bind-address={network.address}",
        f"--secure-port={network.port}",
        # The caller holds the port with a socket of its own, so that nobody takes it in between.
        "--permit-port-sharing",
        # Else it looks for the address of the default route, and fails on a machine without one.
        f"--advertise-address={network.address}",
        f"--tls-cert-file={keys.server_certificate}",
        f"--tls-private-key-file={keys.server_key}",
        f"--token-auth-file={tokens}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={keys.service_account_key}",
        f"--service-account-signing-key-file={keys.service_account_key}",
        # Every request of a ServiceAccount is on record once it is answered.
        f"--audit-policy-file={audit.policy}",
        f"--audit-log-path={audit.log}",
        f"--service-cluster-ip-range={network.services}",
        # Beta and off in 1.36: without it the API server silently empties such a volume.
        "--feature-gates=PodCertificateRequest=true",
        *more,
    ]


def kube_controller_manager(binaries: Binaries, *, keys: KeyFiles, kubeconfig: Path) -> CommandLine:
    """All controllers that Kubernetes runs by default, as the user of ``kubeconfig``."""
    return [
        binaries.kube_controller_manager,
        f"--kubeconfig={kubeconfig}",
        # Its own ClusterRole is small: each controller acts as its own ServiceAccount.
        "--use-service-account-credentials",
        f"--root-ca-file={keys.ca}",
        # Made at its start, by default in a folder of the machine.
        f"--flex-volume-plugin-dir={kubeconfig.parent / 'volume-plugins'}",
        # The only one, so there is nobody to hold an election with.
        "--leader-elect=false",
        # Nobody scrapes it, and a second port could be lost to another run.
        "--secure-port=0",
        # At the default of 20 requests a second its own start takes five seconds.
        "--kube-api-qps=500",
        "--kube-api-burst=500",
    ]


def _etcd_url(folder: Path) -> str:
    return f"unix://{folder}/etcd.sock"
