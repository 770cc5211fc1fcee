"""What a cluster has to have for a kind of identity, and what to say where it has not.

Never asks for it: whoever does shows us the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rolesanywhere_operator.domain.conditions import Reason
from rolesanywhere_operator.domain.identities import (
    CsiIdentity,
    Identity,
    PerPodIdentity,
    PodCertificateIdentity,
)
from rolesanywhere_operator.domain.issuance import Obstacle
from rolesanywhere_operator.domain.untyped import items, mapping

# What a driver says that mounts volumes which a pod brings along (storage/v1 CSIDriverSpec,
# volumeLifecycleModes). Kubelets mount none of one that does not.
_INLINE: Final = "Ephemeral"
# By API server and resource (certificates.k8s.io, since Kubernetes 1.34).
POD_CERTIFICATES_GROUP: Final = "certificates.k8s.io"
POD_CERTIFICATES: Final = "podcertificaterequests"


@dataclass(frozen=True, slots=True)
class Driver:
    """A CSI driver of that name, for inline volumes."""

    name: str


@dataclass(frozen=True, slots=True)
class PodCertificates:
    """An API server that serves PodCertificateRequests."""


Prerequisite = Driver | PodCertificates


def of(identity: Identity) -> Prerequisite | None:
    """What ``identity`` needs that can be looked for; whether a Secret is there cannot."""
    match identity:
        case PerPodIdentity(driver=name) | CsiIdentity(driver=name):
            return Driver(name)
        case PodCertificateIdentity():
            return PodCertificates()
        case _:
            return None


def driver(name: str, found: Mapping[str, Any] | None) -> Obstacle | None:
    """What keeps volumes of the driver ``name`` from pods; ``found`` is its CSIDriver."""
    if found is None:
        what = "cert-manager's csi-driver" if name == PerPodIdentity.driver else "that driver"
        return Obstacle(
            Reason.DRIVER_MISSING,
            f"there is no CSIDriver {name} in this cluster, and pods that need its volumes do not"
            f" start; install {what}, or use another kind of identity. It is picked up once it is"
            " there.",
        )
    modes = [str(mode) for mode in items(mapping(found.get("spec")).get("volumeLifecycleModes"))]
    if _INLINE in modes:
        return None
    return Obstacle(
        Reason.DRIVER_UNFIT,
        f"CSIDriver {name} has no inline volumes (its spec.volumeLifecycleModes:"
        f" {', '.join(modes) or 'none'}, expected {_INLINE} among them), and pods with one do not"
        " start; use a driver that is made for them.",
    )


def pod_certificates(resources: frozenset[str]) -> Obstacle | None:
    """What keeps pods from certificates of their own, where the group serves ``resources``."""
    if POD_CERTIFICATES in resources:
        return None
    return Obstacle(
        Reason.POD_CERTIFICATES_NOT_SERVED,
        f"the API server does not serve {POD_CERTIFICATES}.{POD_CERTIFICATES_GROUP}, and pods wait"
        " for a certificate that never comes; switch on the feature gate PodCertificateRequest, on"
        " API servers and kubelets, and the API's version (--runtime-config), or use another kind"
        " of identity. It is picked up once it is there.",
    )
