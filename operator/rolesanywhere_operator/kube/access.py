"""Where the API server is, whom to trust there, and as whom to ask.

By the official client, which knows every form of a kubeconfig, reads a pod's token again every
minute and runs an exec plugin when its answer has expired. Never asks the API server anything.
"""

from pathlib import Path
from typing import Final

import yaml

from rolesanywhere_operator.kube.errors import KubeError
from rolesanywhere_operator.kube.official import ConfigException, client, config

_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT: Final = "default"


async def load(kubeconfig: Path | None) -> client.Configuration:
    """The official client's settings for ``kubeconfig``, or without one for this pod's cluster.

    Raises `KubeError` when neither a kubeconfig nor a pod's ServiceAccount is there.
    """
    loaded = client.Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=loaded)
        else:
            await config.load_kube_config(
                config_file=str(kubeconfig), client_configuration=loaded, persist_config=False
            )
    except (ConfigException, OSError, yaml.YAMLError) as wrong:
        if kubeconfig is not None:
            raise _unusable(kubeconfig) from None
        raise KubeError(
            f"cannot set up the API client from the pod's ServiceAccount: {wrong}",
            hint="run in a pod with a ServiceAccount token, or name a kubeconfig",
        ) from wrong
    return loaded


def namespace(kubeconfig: Path | None) -> str:
    """The namespace of the kubeconfig's current context, or without one this pod's.

    ``default`` where neither says. Raises `KubeError` for a kubeconfig that cannot be used.
    """
    if kubeconfig is None:
        return _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.exists() else _DEFAULT
    try:
        _, current = config.kube_config.list_kube_config_contexts(str(kubeconfig))
    except (ConfigException, OSError, yaml.YAMLError):
        raise _unusable(kubeconfig) from None
    return str(current["context"].get("namespace") or _DEFAULT)


def _unusable(kubeconfig: Path) -> KubeError:
    """Not in the library's words: they may repeat the user's entry, token and all."""
    return KubeError(
        f"kubeconfig {kubeconfig} cannot be used",
        hint="check that it is there and that its current context is complete",
    )
