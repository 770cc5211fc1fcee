"""What a sidecar is given besides, so that its PKCS#11 module reaches a token.

All of it is for the sidecar alone. Never says which folders a cluster allows, nor what a PIN is.
"""

from typing import Any, Final

from rolesanywhere_contract.names import (
    PKCS11_DIRECTORY,
    PKCS11_STATE_DIRECTORY,
    PKCS11_VOLUMES,
    TPM_LOCKS,
    TPM_STORE,
)
from rolesanywhere_operator.domain.identities import Device, Server, TokenIdentity
from rolesanywhere_operator.domain.tokenspec import SERVER_ADDRESS
from rolesanywhere_operator.domain.wiring import Wiring, literal

Json = dict[str, Any]

# Where the node's p11-kit server is, as the sidecar sees it.
SOCKET_DIRECTORY: Final = f"{PKCS11_DIRECTORY}/server"
# What has to outlive a restart of the sidecar: in the pod's memory, and in nobody else's sight,
# since a PIN is short enough to be guessed from the hash that is kept of it.
STATE_VOLUME: Final = f"{PKCS11_VOLUMES}state"


def of(identity: TokenIdentity) -> Wiring:
    """What reaches ``identity``'s token."""
    named = [
        (f"{PKCS11_VOLUMES}path-{at}", path, path) for at, path in enumerate(identity.host_paths)
    ]
    env = dict(identity.env)
    if isinstance(identity.reach, Server):
        named.append((f"{PKCS11_VOLUMES}server", identity.reach.socket_directory, SOCKET_DIRECTORY))
        env[SERVER_ADDRESS] = f"unix:path={SOCKET_DIRECTORY}/{identity.reach.socket_name}"
    if TPM_STORE in env:  # It is locked even to be read, and what is of the node is read-only here.
        env.setdefault(TPM_LOCKS, f"{PKCS11_STATE_DIRECTORY}/tpm2")
    device = identity.reach if isinstance(identity.reach, Device) else None
    return Wiring(
        volumes=(_STATE, *(_volume(name, path) for name, path, _ in named)),
        mounts=(
            {"name": STATE_VOLUME, "mountPath": PKCS11_STATE_DIRECTORY},
            *(_mount(name, inside) for name, _, inside in named),
        ),
        env=tuple({"name": name, "value": literal(value)} for name, value in env.items()),
        limits={device.resource_name: 1} if device else None,
        group=identity.group,
    )


_STATE: Final[Json] = {
    "name": STATE_VOLUME,
    "emptyDir": {"medium": "Memory", "sizeLimit": "64Ki"},
}


def _volume(name: str, path: str) -> Json:
    # A folder that is not there keeps the pod waiting, with an Event that names it; without the
    # type, the node would be given an empty one.
    return {"name": name, "hostPath": {"path": path, "type": "Directory"}}


def _mount(name: str, inside: str) -> Json:
    return {"name": name, "mountPath": inside, "readOnly": True}
