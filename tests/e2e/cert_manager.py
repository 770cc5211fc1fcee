"""cert-manager in a cluster: its own controller and CA injector, in a pod, and issuers.

The program is put together of cert-manager's own packages (``tests/tools/cert-manager-programs``).
Its webhook, which refuses what makes no sense, is not among them.
"""

import json
from pathlib import Path
from typing import Any, Final

from tests.e2e import aws, pods
from tests.e2e.harness import images
from tests.e2e.harness.cluster import Cluster
from tests.fakes.pki import Identity
from tests.support import gotools

NAMESPACE: Final = "cert-manager"
PROGRAM: Final = gotools.TOOLS / "cert-manager-programs"
MODULE: Final = "github.com/cert-manager/cert-manager"
KINDS: Final = ("certificates", "certificaterequests", "issuers", "clusterissuers")
# How long it waits after a failure; an hour unless it is told.
BACKOFF: Final = "2s"

Manifest = dict[str, Any]


def find_or_build() -> Path:
    """The program; minutes where no run has built it before. Raises `ToolMissing`."""
    return gotools.build_program(PROGRAM)


def install(cluster: Cluster, program: Path) -> None:
    """Have the cluster know certificates, and a pod that keeps them issued."""
    for kind in KINDS:
        schema = gotools.source_file(
            PROGRAM.name, MODULE, f"deploy/crds/cert-manager.io_{kind}.yaml"
        )
        cluster.apply(schema.read_text())
    image = cluster.load(images.of_program("cert-manager", program))
    patience = f"--certificate-request-minimum-backoff-duration={BACKOFF}"
    controller = pods.container("controller", image, args=["controller", patience])
    injector = pods.container("cainjector", image, args=["cainjector"])
    pod = pods.pod("cert-manager", controller, injector, serviceAccountName="default")
    cluster.apply(json.dumps(pods.items(pods.namespace(NAMESPACE), _may_do_all())))
    cluster.kubectl(
        "wait", "--for=create", "serviceaccount/default", f"--namespace={NAMESPACE}",
        "--timeout=30s",
    )  # fmt: skip
    cluster.apply(json.dumps(pod), namespace=NAMESPACE)
    cluster.kubectl(
        "wait", "--for=condition=Ready", "pod/cert-manager", f"--namespace={NAMESPACE}",
        "--timeout=55s",
    )  # fmt: skip


def issuer(name: str, authority: Identity) -> tuple[Manifest, Manifest]:
    """An Issuer that signs with an authority's key, and the Secret that holds it."""
    return aws.tls_secret(f"{name}-ca", authority), {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Issuer",
        "metadata": {"name": name},
        "spec": {"ca": {"secretName": f"{name}-ca"}},
    }


def _may_do_all() -> Manifest:
    """What cert-manager may do is not under test."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": NAMESPACE},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": NAMESPACE}],
    }  # fmt: skip
