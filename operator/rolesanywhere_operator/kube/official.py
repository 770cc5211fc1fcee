"""The asyncio half of the official Kubernetes client, without the other.

Whatever is imported of it, ``kubernetes/__init__`` imports all of its synchronous half first, with
requests, oauthlib and websocket: an eighth of the webhook's memory for what nobody here calls. So
that file is not run; the package is but the place where its parts are found. Everybody imports the
client from here. Never changes a part of it.
"""

import sys
from importlib.util import find_spec, module_from_spec

if "kubernetes" not in sys.modules and (_package := find_spec("kubernetes")):
    sys.modules["kubernetes"] = module_from_spec(_package)

from kubernetes.aio import client, config
from kubernetes.aio.client.rest import RESTResponse
from kubernetes.aio.config.config_exception import ConfigException

__all__ = ["ConfigException", "RESTResponse", "client", "config"]
