"""What a sidecar is given besides, so that it reaches AWS by the way that was chosen.

All of it is for the sidecar alone: what a pod's containers say of proxies is their own.
"""

from collections.abc import Iterator
from typing import Any, Final

from rolesanywhere_contract.names import CA_BUNDLE_DIRECTORY, CA_BUNDLE_FILE, CA_BUNDLE_VOLUME
from rolesanywhere_operator.domain.egress import ConfigMapKey, Egress, Proxy
from rolesanywhere_operator.domain.wiring import Wiring, literal

Json = dict[str, Any]

# The sidecar reads the lower case first, as curl does.
PROXY_VARIABLE: Final = "https_proxy"
EXCEPTIONS_VARIABLE: Final = "no_proxy"


def of(egress: Egress) -> Wiring:
    """What takes a sidecar out by ``egress``."""
    config_map = egress.ca_bundle.config_map
    return Wiring(
        volumes=(_volume(config_map),) if config_map else (),
        mounts=(_mount(),) if config_map else (),
        env=tuple(_environment(egress.proxy)),
    )


def _volume(config_map: ConfigMapKey) -> Json:
    # One that is not there keeps the pod waiting, with an Event that names it: without the bundle
    # the sidecar would reach nobody, or believe others than it should.
    source = {
        "name": config_map.name,
        "defaultMode": 0o444,
        "items": [{"key": config_map.key, "path": CA_BUNDLE_FILE}],
    }
    return {"name": CA_BUNDLE_VOLUME, "configMap": source}


def _mount() -> Json:
    # The folder, not the file: what is mounted by subPath never changes.
    return {"name": CA_BUNDLE_VOLUME, "mountPath": CA_BUNDLE_DIRECTORY, "readOnly": True}


def _environment(proxy: Proxy) -> Iterator[Json]:
    if proxy.secret is not None:
        reference = {"name": proxy.secret.name, "key": proxy.secret.key}
        yield {"name": PROXY_VARIABLE, "valueFrom": {"secretKeyRef": reference}}
    elif proxy.url is not None:
        yield {"name": PROXY_VARIABLE, "value": literal(proxy.url)}
    if proxy.no_proxy:
        yield {"name": EXCEPTIONS_VARIABLE, "value": literal(",".join(proxy.no_proxy))}
