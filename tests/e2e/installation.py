"""The operator in a cluster as an administrator has it: by Helm, in a restricted namespace.

Nothing is told to the chart but where the images are.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chart.helm import CHART, RELEASE, Helm
from tests.cluster.kubectl import PATIENCE
from tests.e2e import pods
from tests.e2e.harness import images
from tests.e2e.harness.cluster import Cluster
from tests.support.waiting import eventually

NAMESPACE: Final = "rolesanywhere"
TAG: Final = "e2e"
# What the chart calls the images of the Dockerfile's targets.
IMAGES: Final[Mapping[str, str]] = {
    "operator": "operator",
    "sidecar": "sidecar",
    "sidecarPkcs11": "sidecar-pkcs11",
}
READY_SECONDS: Final = 300
ENDED_SECONDS: Final = 120.0

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Installation:
    """The chart's release in ``cluster``."""

    cluster: Cluster
    helm: Helm

    def install(self, values: Mapping[str, Any] | None = None) -> None:
        """Into a namespace that enforces Pod Security restricted; returns once all pods are Ready.

        Raises `HelmFailed`.
        """
        self.cluster.apply(json.dumps(pods.namespace(NAMESPACE, enforce="restricted")))
        self._helm("install", values)

    def upgrade(self, values: Mapping[str, Any] | None = None) -> None:
        """To the chart as it is here, with these ``values`` and no older ones.

        Returns once nobody is left who goes by older ones: a replica that ends answers on for a
        while, so that no review is lost.
        """
        self._helm("upgrade", values)
        eventually("only the new pods are left", self._nobody_is_ending, within=ENDED_SECONDS)

    def pods(self, component: str) -> list[Manifest]:
        """The pods of ``webhook`` or ``controller``."""
        found: list[Manifest] = self.cluster.kubectl.get(
            "pods", f"--namespace={NAMESPACE}",
            f"--selector=app.kubernetes.io/component={component}",
        )["items"]  # fmt: skip
        return found

    def deployments(self, component: str) -> dict[str, Manifest]:
        """The Deployments of ``webhook``, whose halves there are, or ``controller``, by name."""
        found = self.cluster.kubectl.get(
            "deployments", f"--namespace={NAMESPACE}",
            f"--selector=app.kubernetes.io/component={component}",
        )["items"]  # fmt: skip
        return {one["metadata"]["name"]: one for one in found}

    def leader(self) -> str:
        """Which controller acts: its pod's name, and what tells this run of it from others."""
        found = self.cluster.kubectl.get("leases", f"--namespace={NAMESPACE}")["items"]
        return str(found[0]["spec"].get("holderIdentity", ""))

    @contextmanager
    def without(self, component: str) -> Iterator[None]:
        """``webhook`` or ``controller`` is scaled to no pods, for the length of the block.

        All replicas are Ready again after it.
        """
        usual = self.deployments(component)
        for name in usual:
            self._scale(name, 0)
        try:
            yield
        finally:
            for name, one in usual.items():
                self._scale(name, one["spec"]["replicas"])
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return once all replicas of both programs are. Raises `KubectlFailed`."""
        for component in ("webhook", "controller"):
            for name in self.deployments(component):
                self.cluster.kubectl(
                    "rollout", "status", f"deployment/{name}", f"--namespace={NAMESPACE}",
                    PATIENCE,
                )  # fmt: skip

    def _scale(self, deployment: str, replicas: int) -> None:
        self.cluster.kubectl(
            "scale", f"deployment/{deployment}", f"--replicas={replicas}",
            f"--namespace={NAMESPACE}",
        )  # fmt: skip

    def _nobody_is_ending(self) -> bool:
        found = [*self.pods("webhook"), *self.pods("controller")]
        return not any("deletionTimestamp" in pod["metadata"] for pod in found)

    def _helm(self, verb: str, values: Mapping[str, Any] | None) -> None:
        told = {"images": at_hand(), **(values or {})}
        ready = ("--wait", f"--timeout={READY_SECONDS}s")
        self.helm(verb, RELEASE, CHART, f"--namespace={NAMESPACE}", *ready, values=told)


def load_images(cluster: Cluster) -> None:
    """Bring the project's images to the node, as one release. Raises `ToolMissing`."""
    for target in IMAGES.values():
        cluster.load(images.project(target), f"{_repository(target)}:{TAG}")


def at_hand() -> dict[str, str]:
    """The chart's values for images that are on the node."""
    return {key: _repository(target) for key, target in IMAGES.items()} | {"tag": TAG}


def in_cluster(cluster: Cluster, helm: Path) -> Installation:
    """What installs and upgrades there; ``helm`` is Helm's program."""
    home = cluster.folder / "helm"
    home.mkdir(exist_ok=True)
    return Installation(
        cluster,
        Helm(
            helm, home, cluster.admin_kubeconfig, entering=cluster.sandbox.entering(),
            timeout=READY_SECONDS + 60,
        ),
    )  # fmt: skip


def _repository(target: str) -> str:
    return f"localhost/rolesanywhere-{target}"
