"""Bindings as the API server holds them, for a command that asks once and ends.

Never watches, and never writes.
"""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from rolesanywhere_contract.names import API_VERSION, PLURAL

Json = dict[str, Any]

_IN_CLUSTER: Final = "KUBERNETES_SERVICE_HOST"


def kubeconfig(given: Path | None, env: Mapping[str, str], home: Path) -> Path | None:
    """Whose cluster to ask, as kubectl finds it; None for the one that this pod runs in."""
    if given is not None or env.get("KUBECONFIG"):
        return given or Path(env["KUBECONFIG"])
    return None if env.get(_IN_CLUSTER) else home / ".kube" / "config"


def namespace(kubeconfig: Path | None) -> str:
    """The namespace of the kubeconfig's current context, or of this pod. Raises `KubeError`."""
    # The official client takes a second to load: only who asks a cluster waits for it.
    from rolesanywhere_operator.kube import access

    return access.namespace(kubeconfig)


def bindings_of(namespaces: Iterable[str], kubeconfig: Path | None) -> dict[str, dict[str, Json]]:
    """The bindings of each namespace by name, as they are. Raises `KubeError`."""
    return asyncio.run(_bindings_of(sorted(set(namespaces)), kubeconfig))


async def _bindings_of(
    namespaces: Iterable[str], kubeconfig: Path | None
) -> dict[str, dict[str, Json]]:
    from rolesanywhere_operator.kube.client import connect

    found: dict[str, dict[str, Json]] = {}
    async with connect(kubeconfig) as kube:
        for one in namespaces:
            listed = await kube.get(_path(one))
            found[one] = {str(item["metadata"]["name"]): item for item in listed.get("items") or ()}
    return found


def _path(namespace: str) -> str:
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}"
