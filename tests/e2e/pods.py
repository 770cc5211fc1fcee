"""Pods as tests want them: small manifests that say only what the test is about."""

from collections.abc import Sequence
from typing import Any


def container(name: str, image: str, *command: str, **more: Any) -> dict[str, Any]:
    """A container whose image is on the node already."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        **more,
    }


def python(name: str, image: str, program: str, **more: Any) -> dict[str, Any]:
    """A container that runs a Python ``program``."""
    return container(name, image, "python3", "-c", program, **more)


def pod(name: str, *containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A pod that ends at once when it is told to."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "containers": list(containers),
            "terminationGracePeriodSeconds": 1,
            **more,
        },
    }


def service(name: str, port: int) -> dict[str, Any]:
    """The Service of the pods that are labelled with its name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
    }


def namespace(name: str, *, enforce: str = "") -> dict[str, Any]:
    """A namespace, which may enforce a level of Pod Security."""
    labels = {"pod-security.kubernetes.io/enforce": enforce} if enforce else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def items(*objects: dict[str, Any]) -> dict[str, Any]:
    """Several objects as one."""
    listed: Sequence[dict[str, Any]] = objects
    return {"apiVersion": "v1", "kind": "List", "items": list(listed)}
