"""Where the API server is, whom to trust there, and as whom to ask.

By the official client, which knows every form of a kubeconfig, reads a pod's token again every
minute and runs an exec plugin when its answer has expired. Never asks the API server anything.
"""

from pathlib import Path

import yaml
from kubernetes.aio import client, config
from kubernetes.aio.config.config_exception import ConfigException

from rolesanywhere_operator.kube.errors import KubeError


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
            # Not in the library's words: they may repeat the user's entry, token and all.
            raise KubeError(
                f"kubeconfig {kubeconfig} cannot be used",
                hint="check that it is there and that its current context is complete",
            ) from None
        raise KubeError(
            f"cannot set up the API client from the pod's ServiceAccount: {wrong}",
            hint="run in a pod with a ServiceAccount token, or name a kubeconfig",
        ) from wrong
    return loaded
