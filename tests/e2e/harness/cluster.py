"""A whole Kubernetes with one node in namespaces of its own: up, found again, used, and down.

The control plane is that of `tests.cluster`, with a scheduler, a kubelet, kube-proxy, containerd
and DNS beside it. Nothing of it is reachable from outside its network, and nothing of it outlives
`Cluster.down`.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from tests.cluster import binaries, command_lines, control_plane
from tests.cluster.binaries import Binaries, NodeBinaries
from tests.cluster.command_lines import CommandLine
from tests.cluster.control_plane import ADMIN, CONTROLLERS, Site
from tests.cluster.kubectl import Kubectl
from tests.cluster.readiness import wait_until
from tests.e2e.harness import configuration, images, machine
from tests.e2e.harness.configuration import NETWORK, Files
from tests.e2e.harness.images import Image
from tests.e2e.harness.sandbox import Sandbox, Service

READY_SECONDS: Final = 90.0
NODE_PATH: Final = f"/api/v1/nodes/{configuration.NODE}"
CONTAINERD_STARTS_SECONDS: Final = 30.0


class ClusterFailed(Exception):
    """A cluster did not come up; the text ends with the logs of what did not."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Everything that a cluster runs, built."""

    control_plane: Binaries
    node: NodeBinaries
    pause: Image

    @classmethod
    def find_or_build(cls) -> Self:
        """Minutes where nothing is built yet. Raises `ToolMissing` where no cluster can run."""
        machine.prepare()
        return cls(binaries.find_or_build(), binaries.find_or_build_node(), images.pause())


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster.

    ``kubectl`` speaks to it as cluster admin, from this process. ``commands`` is how each of its
    programs was started, by name.
    """

    sandbox: Sandbox
    kubectl: Kubectl
    site: Site
    commands: dict[str, CommandLine]

    @classmethod
    @contextmanager
    def running(cls, name: str, programs: Programs) -> Iterator[Self]:
        """One for the length of the block, which ends at the latest with this process."""
        sandbox = Sandbox(name)
        with sandbox.held():
            first = sandbox.make(configuration.PLAN, owned=True)
            try:
                yield cls._start(sandbox, programs)
            finally:
                sandbox.destroy()
                first.communicate()

    @classmethod
    def up(cls, name: str, programs: Programs) -> Self:
        """One that stays until `down`; in the place of any of that name.

        Raises `SandboxFailed` or `ClusterFailed`.
        """
        sandbox = Sandbox(name)
        with sandbox.held():
            first = sandbox.make(configuration.PLAN, owned=False)
            try:
                return cls._start(sandbox, programs)
            except BaseException:
                sandbox.destroy()
                first.communicate()
                raise
            finally:
                first.returncode = first.returncode or 0  # It is nobody's child from here on.

    @property
    def folder(self) -> Path:
        """Its files: logs, keys, kubeconfigs, the container runtime's and kubelet's folders."""
        return self.sandbox.folder

    @property
    def admin_kubeconfig(self) -> Path:
        return self.site.kubeconfigs[ADMIN]

    def service(self, name: str) -> Service:
        """The program ``name``: etcd, kube-apiserver, kubelet, containerd, …"""
        return Service(self.sandbox, name)

    def start(self, name: str) -> Service:
        """Start the program ``name`` again, as it was started."""
        return self.sandbox.start(name, self.commands[name])

    def restart(self, name: str, number: signal.Signals = signal.SIGKILL) -> Service:
        """End the program ``name`` by a signal and start it again."""
        self.service(name).end(number)
        return self.start(name)

    def run(
        self, *command: str | Path, timeout: float = 300, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of this machine in the cluster's network, as cluster admin: helm, curl."""
        return subprocess.run(
            [*self.sandbox.entering(), *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self.kubectl.environment()},
            capture_output=True, text=True, check=check, timeout=timeout,
        )  # fmt: skip

    def apply(self, manifest: str, *, namespace: str = "default") -> None:
        """Apply YAML or JSON as cluster admin; ``namespace`` is for objects that name none."""
        self.kubectl(
            "apply", "--server-side", "--filename=-", f"--namespace={namespace}", input=manifest
        )

    def execute(self, pod: str, *command: str, namespace: str, container: str = "") -> str:
        """What ``command`` says in a pod's container. Raises ``KubectlFailed``."""
        chosen = [f"--container={container}"] if container else []
        return self.kubectl("exec", f"--namespace={namespace}", pod, *chosen, "--", *command)

    def load(self, image: Image, name: str = "") -> str:
        """Bring an image to the node; the name by which pods have it, another if one is given."""
        return images.load(self.sandbox, image, name)

    def runtime_answers(self) -> bool:
        """Whether containerd does; a kubelet that is started before ends at once."""
        command = self.sandbox.inside([*configuration.CTR, "version"])
        done = subprocess.run(command, capture_output=True, check=False)
        return done.returncode == 0

    def wait_until_ready(self) -> None:
        """Return once the node takes pods. Raises `ClusterFailed`."""
        _until("the node is Ready", self._node_is_ready, self, within=READY_SECONDS)

    def _node_is_ready(self) -> bool:
        if not self.site.api.has(NODE_PATH):
            return False
        conditions = self.kubectl.get("node", configuration.NODE)["status"].get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    @classmethod
    def _start(cls, sandbox: Sandbox, programs: Programs) -> Self:
        site = control_plane.lay_out(
            sandbox.folder, NETWORK, now=datetime.now(UTC), dial=sandbox.dial,
            users={**control_plane.USERS, **configuration.USERS},
        )  # fmt: skip
        files = _write_files(sandbox, site)
        kubectl = Kubectl(
            programs.control_plane.kubectl, site.kubeconfigs[ADMIN],
            cache=sandbox.folder / "kubectl", entering=sandbox.entering(),
        )  # fmt: skip
        cluster = cls(sandbox, kubectl, site, _commands(programs, site, files))
        # The runtime takes its time, and needs nobody.
        cluster.start("containerd")
        cluster._start_control_plane()
        cluster.apply(configuration.DNS_RULES)
        cluster._start_node(programs.pause)
        return cluster

    def _start_control_plane(self) -> None:
        started = [self.start("etcd"), self.start("kube-apiserver")]
        wait_until(self.site.api, "/readyz", started)
        for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"):
            self.start(name)

    def _start_node(self, pause: Image) -> None:
        _until("containerd answers", self.runtime_answers, self, within=CONTAINERD_STARTS_SECONDS)
        self.load(pause)
        self.start("kubelet")
        self.wait_until_ready()
        wait_until(
            self.site.api,
            control_plane.FIRST_DEED_OF_CONTROLLERS,
            [self.service("kube-controller-manager")],
        )


def down(name: str) -> None:
    """End the cluster ``name`` and what any killed run left of it. Raises `SandboxFailed`."""
    sandbox = Sandbox(name)
    with sandbox.held():
        sandbox.destroy()


def _write_files(sandbox: Sandbox, site: Site) -> Files:
    files = Files(sandbox.folder)
    texts = configuration.contents(
        files,
        cgroup=sandbox.cgroup,
        ca=site.keys.ca,
        proxy=site.kubeconfigs[configuration.PROXY],
        dns=site.kubeconfigs[configuration.DNS],
    )
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return files


def _commands(programs: Programs, site: Site, files: Files) -> dict[str, CommandLine]:
    """Every program's command line, by its name."""
    node, kubeconfigs = programs.node, site.kubeconfigs
    return {
        "containerd": configuration.containerd(files),
        "etcd": command_lines.etcd(programs.control_plane, site.folder),
        "kube-apiserver": command_lines.kube_apiserver(
            programs.control_plane, site.folder, keys=site.keys, tokens=site.tokens,
            audit=site.audit, network=site.network,
            more=[*configuration.API_SERVER,
                  f"--kubelet-client-certificate={site.keys.kubelet_client_certificate}",
                  f"--kubelet-client-key={site.keys.kubelet_client_key}"],
        ),
        "kube-controller-manager": command_lines.kube_controller_manager(
            programs.control_plane, keys=site.keys, kubeconfig=kubeconfigs[CONTROLLERS]
        ),
        "kube-scheduler": configuration.scheduler(node, kubeconfigs[configuration.SCHEDULER]),
        "kube-proxy": configuration.proxy(node, files),
        "coredns": configuration.dns(node, files),
        "kubelet": configuration.kubelet(node, files, kubeconfigs[configuration.KUBELET]),
    }  # fmt: skip


def _until(what: str, holds: Callable[[], bool], cluster: Cluster, *, within: float) -> None:
    deadline = time.monotonic() + within
    while not holds():
        _, ended = cluster.sandbox.look()
        if ended or time.monotonic() > deadline:
            raise ClusterFailed(f"not within {within:.0f} s: {what}\n{_tails(cluster, ended)}")
        time.sleep(0.1)


def _tails(cluster: Cluster, ended: Sequence[str] | dict[str, int]) -> str:
    """The logs of what ended, or of all when nothing did."""
    named = list(ended) or list(cluster.commands)
    logs = [service for service in map(cluster.service, named) if service.log.exists()]
    return "\n".join(f"{service.name}:\n{service.tail()}" for service in logs)
