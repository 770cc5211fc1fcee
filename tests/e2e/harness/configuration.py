"""What the programs of a node are told: their configuration files and command lines.

Pure: text and words out of names and paths; every setting that is not a default has its reason.
Nothing is written or started here. The flags of etcd, API server and controllers are those of
`tests.cluster.command_lines`, and what is added to them here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cluster.binaries import NodeBinaries
from tests.cluster.command_lines import CommandLine, Network
from tests.e2e.harness.sandbox import Plan

NODE: Final = "node"
# Addresses that are nobody's: of documentation (RFC 5737) and of benchmarks (RFC 2544).
NETWORK: Final = Network("198.51.100.10", 6443, services="198.19.0.0/24")
PODS: Final = "198.18.0.0/24"
DNS_ADDRESS: Final = NETWORK.address
CLUSTER_DOMAIN: Final = "cluster.local"

CONTAINERD_SOCKET: Final = "/run/containerd/containerd.sock"
# containerd's own command, for what is the kubelet's.
CTR: Final = ("ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io")
PAUSE_IMAGE: Final = "localhost/pause:e2e"

# What a kubelet sets for the whole machine, and what a node writes to outside its folders.
PLAN: Final = Plan(
    address=NETWORK.address,
    services=NETWORK.services,
    hostname=NODE,
    sysctls=(
        "vm/overcommit_memory",
        "vm/panic_on_oom",
        "kernel/panic",
        "kernel/panic_on_oops",
        "kernel/keys/root_maxkeys",
        "kernel/keys/root_maxbytes",
    ),
    folders={"/var/lib/kubelet": "kubelet", "/var/lib/cni": "cni-state"},
)

SCHEDULER: Final = "system:kube-scheduler"
PROXY: Final = "system:kube-proxy"
KUBELET: Final = f"system:node:{NODE}"
DNS: Final = "e2e:dns"
# Users beside those of every test control plane, each with its group.
USERS: Final = {SCHEDULER: "", PROXY: "", DNS: "", KUBELET: "system:nodes"}

# Flags of an API server that has nodes.
API_SERVER: Final = (
    # A kubelet may read only what its pods need.
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    # The beta API of 1.36; its feature gate is set for every test control plane.
    "--runtime-config=certificates.k8s.io/v1beta1/podcertificaterequests=true",
    "--allow-privileged",
    # The node's name is in no DNS that the API server asks.
    "--kubelet-preferred-address-types=InternalIP",
)

# Who may answer questions for names: the rules that CoreDNS documents.
DNS_RULES: Final = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": DNS},
                "rules": [
                    {
                        "apiGroups": [""],
                        "resources": ["services", "pods", "namespaces"],
                        "verbs": ["list", "watch"],
                    },
                    {
                        "apiGroups": ["discovery.k8s.io"],
                        "resources": ["endpointslices"],
                        "verbs": ["list", "watch"],
                    },
                ],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": DNS},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": DNS,
                },
                "subjects": [
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": DNS}
                ],
            },
        ],
    }
)


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files of a node lie."""

    folder: Path

    @property
    def containerd(self) -> Path:
        return self.folder / "containerd.toml"

    @property
    def kubelet(self) -> Path:
        return self.folder / "kubelet.json"

    @property
    def proxy(self) -> Path:
        return self.folder / "kube-proxy.json"

    @property
    def dns(self) -> Path:
        return self.folder / "Corefile"

    @property
    def names(self) -> Path:
        """Names besides the cluster's own, as /etc/hosts has them; read again when it changes."""
        return self.folder / "names"

    @property
    def resolver(self) -> Path:
        return self.folder / "resolv.conf"

    @property
    def pod_network(self) -> Path:
        return self.folder / "cni" / "10-pods.conflist"


def contents(files: Files, *, cgroup: str, ca: Path, proxy: Path, dns: Path) -> dict[Path, str]:
    """Every file's text; ``proxy`` and ``dns`` are kubeconfigs."""
    return {
        files.containerd: _containerd(files.folder),
        files.kubelet: json.dumps(_kubelet(files, cgroup=cgroup, ca=ca), indent=2),
        files.proxy: json.dumps(_proxy(proxy), indent=2),
        files.dns: _corefile(dns, files.names),
        files.names: "",
        # What pods with dnsPolicy Default see.
        files.resolver: f"nameserver {DNS_ADDRESS}\n",
        files.pod_network: json.dumps(_pod_network(), indent=2),
    }


def containerd(files: Files) -> CommandLine:
    """The container runtime, with the CRI plugin that kubelet speaks to."""
    return ["containerd", f"--config={files.containerd}"]


def kubelet(binaries: NodeBinaries, files: Files, kubeconfig: Path) -> CommandLine:
    """The node itself."""
    return [
        binaries.kubelet,
        f"--config={files.kubelet}",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={NODE}",
        # Else it asks for the default route's address, and there is no such route.
        f"--node-ip={NETWORK.address}",
    ]


def scheduler(binaries: NodeBinaries, kubeconfig: Path) -> CommandLine:
    """The only scheduler, so that there is nobody to hold an election with."""
    return [binaries.kube_scheduler, f"--kubeconfig={kubeconfig}", "--leader-elect=false"]


def proxy(binaries: NodeBinaries, files: Files) -> CommandLine:
    """The Services' way to their pods."""
    return [binaries.kube_proxy, f"--config={files.proxy}"]


def dns(binaries: NodeBinaries, files: Files) -> CommandLine:
    """The cluster's own names, on the node instead of in a pod."""
    return [binaries.coredns, "-conf", files.dns]


def _containerd(folder: Path) -> str:
    return f"""\
version = 2
root = "{folder}/containerd"
state = "/run/containerd"

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
# In a container of its own, this machine's root may not protect processes from the OOM killer.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "runc"
"""


def _pod_network() -> dict[str, Any]:
    """Each pod has a cable to the node, which forwards: no bridge, whose traffic evades filters."""
    addresses = {"type": "host-local", "ranges": [[{"subnet": PODS}]]}
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipam": {**addresses, "routes": [{"dst": "0.0.0.0/0"}]},
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(files: Files, *, cgroup: str, ca: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(files.resolver),
        "podLogsDir": str(files.folder / "pods"),
        "volumePluginDir": str(files.folder / "volume-plugins"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(ca)},
        },
        "authorization": {"mode": "Webhook"},
        "featureGates": {"PodCertificateRequest": True},
        # A changed Secret reaches its volume with the next look at the pod, by default in a minute.
        "syncFrequency": "10s",
        # Images come from no registry: one that is cleaned away is gone.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%",
                         "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
        # Tests start many pods at once, and the machine is its own.
        "kubeAPIQPS": 500,
        "kubeAPIBurst": 500,
        "nodeStatusUpdateFrequency": "5s",
    }  # fmt: skip


def _proxy(kubeconfig: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": PODS,
        "hostnameOverride": NODE,
        # Limits of the whole machine, which this network may not change.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "metricsBindAddress": "127.0.0.1:10249",
    }


def _corefile(kubeconfig: Path, names: Path) -> str:
    return f"""\
.:53 {{
    bind {DNS_ADDRESS}
    errors
    ready {DNS_ADDRESS}:8181
    hosts {names} {{
        reload 1s
        ttl 1
        fallthrough
    }}
    cache 5
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
}}
"""
