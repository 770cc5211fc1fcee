"""Pods and bindings for tests, said in few words. Used by the operator's tests alone."""

from typing import Any

from rolesanywhere_operator.domain import bindings
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.domain.sidecardefaults import SidecarDefaults

Json = dict[str, Any]

ANCHOR = (
    "arn:aws:rolesanywhere:eu-west-1:111122223333:trust-anchor/0a1b2c3d-0000-4000-8000-00000000000a"
)
PROFILE = (
    "arn:aws:rolesanywhere:eu-west-1:111122223333:profile/0a1b2c3d-0000-4000-8000-00000000000b"
)
ROLE = "arn:aws:iam::111122223333:role/reports"
IMAGE = "registry.example/rolesanywhere-sidecar:0.1.0"
PKCS11_IMAGE = "registry.example/rolesanywhere-sidecar-pkcs11:0.1.0"
DEFAULTS = SidecarDefaults(image=IMAGE, pkcs11_image=PKCS11_IMAGE)


def a_raw_binding(name: str = "reports", namespace: str = "team-a", **spec: Any) -> Json:
    """A binding as the API server holds it; ``spec`` overrides and adds fields."""
    return {
        "apiVersion": "rolesanywhere.dev/v1alpha1",
        "kind": "RolesAnywhereBinding",
        "metadata": {"name": name, "namespace": namespace, "generation": 1},
        "spec": {
            "trustAnchorArn": ANCHOR,
            "profileArn": PROFILE,
            "roleArn": ROLE,
            "identity": {"secret": {"name": f"{name}-tls"}},
            **spec,
        },
    }


def a_binding(name: str = "reports", namespace: str = "team-a", **spec: Any) -> Binding:
    """A binding that makes sense; ``spec`` overrides and adds fields."""
    return bindings.parse(a_raw_binding(name, namespace, **spec))


def a_pod(
    *containers: Json,
    inject: str | None = "true",
    annotations: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> Json:
    """A pod of one container ``app`` unless others are given; ``spec`` adds fields."""
    asked = {} if inject is None else {"rolesanywhere.dev/inject": inject}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "reports-0",
            "annotations": asked | (annotations or {}),
            "labels": labels or {},
        },
        "spec": {"containers": list(containers) or [a_container()], **spec},
    }


def a_container(name: str = "app", **fields: Any) -> Json:
    """A container; ``fields`` adds to it."""
    return {"name": name, "image": f"registry.example/{name}:1", **fields}


def a_review(pod: Json, namespace: str = "team-a", **request: Any) -> Json:
    """What the API server sends when ``pod`` is created; ``request`` overrides and adds fields."""
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0f3c",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": namespace,
            "object": pod,
            "dryRun": False,
            **request,
        },
    }
