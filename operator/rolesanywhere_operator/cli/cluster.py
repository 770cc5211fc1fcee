"""Bindings as the API server holds them, for a command that asks once and ends.

Never watches, and never writes.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rolesanywhere_contract.names import API_VERSION, PLURAL
from rolesanywhere_operator.domain import podsecurity

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


def levels_of(namespaces: Iterable[str], kubeconfig: Path | None) -> dict[str, str | None]:
    """What each namespace enforces of Pod Security; those that cannot be read are left out."""
    wanted = sorted(set(namespaces))
    return asyncio.run(_levels_of(wanted, kubeconfig)) if wanted else {}


async def _levels_of(namespaces: Iterable[str], kubeconfig: Path | None) -> dict[str, str | None]:
    from rolesanywhere_operator.kube.client import connect
    from rolesanywhere_operator.kube.errors import KubeError

    found: dict[str, str | None] = {}
    async with connect(kubeconfig) as kube:
        for one in namespaces:
            # Who may read bindings may not always read namespaces, and this is no more than a hint.
            with suppress(KubeError):
                found[one] = podsecurity.level(await kube.get(f"/api/v1/namespaces/{one}"))
    return found


def _path(namespace: str) -> str:
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}"
