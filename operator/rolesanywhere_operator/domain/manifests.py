"""What a pod is given: sidecar, volumes and variables, as the dictionaries that Kubernetes reads.

Never looks at a pod: where these pieces go, and whether they are there, is `injection`'s to know.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from rolesanywhere_contract.names import (
    CREDENTIALS_PATH,
    EMPTY_VOLUME,
    IDENTITY_DIRECTORY,
    IDENTITY_VOLUME,
    LIVENESS_PATH,
    SIDECAR_CONTAINER,
    TOKEN_DIRECTORY,
    TOKEN_PATH,
    TOKEN_VOLUME,
)
from rolesanywhere_contract.settings import Settings, variable
from rolesanywhere_operator.domain import egresswiring, identityvolumes, tokenwiring
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.domain.identities import TokenIdentity
from rolesanywhere_operator.domain.sidecardefaults import SidecarDefaults
from rolesanywhere_operator.domain.wiring import NO_WIRING, Wiring, literal

Json = dict[str, Any]

# The image's entry point is the sidecar's program.
SIDECAR_ARGS: Final = ["serve"]
# An exec probe starts at no entry point, so that this spells the program out. What it prints goes
# into the pod's Events: an httpGet's failure would show its status alone. One look waits for most
# of its period: a process each second, in each pod that waits for AWS, would keep a node busy.
PROBE_PERIOD_SECONDS: Final = 10
SIDECAR_PROBE: Final = ["python3", "-m", "rolesanywhere_sidecar", "probe", "--wait", "9"]
# Not the application's user, so that the application cannot read our files or memory.
SIDECAR_USER: Final = 65532

# Where Kubernetes' own clients look for a ServiceAccount's token; the sidecar needs none.
API_TOKEN_DIRECTORY: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a folder

# The pod waits this long for its first session. The sidecar retries on its own,
# with back-off; a restart would only forget what that has learned, and the kubelet would add a
# back-off of its own. So it comes late, to end a true hang: a turn in a fleet may be an hour ahead
# (the sidecar believes no later one), and its longest wait between two attempts is five minutes.
STARTUP_PATIENCE_SECONDS: Final = 3900

_START_AFTER: Final = variable("start_after")

# What the pods of one binding share is made once, and nobody may change it: to make it anew would
# take longer than all else. Each keeps a few KiB.
_kept = lru_cache(maxsize=256)

# How a role session name's words are spelt in the sidecar's environment.
_WORDS: Final = {
    "namespace": ("POD_NAMESPACE", "metadata.namespace"),
    "pod": ("POD_NAME", "metadata.name"),
    "serviceAccount": ("POD_SERVICE_ACCOUNT", "spec.serviceAccountName"),
}


def sidecar(
    binding: Binding, defaults: SidecarDefaults, *, start_after: datetime | None = None
) -> Json:
    """The container that serves credentials: a native sidecar (restartPolicy Always).

    ``start_after`` is its pod's turn in a fleet.
    """
    container = _sidecar(binding, defaults)
    if start_after is None:
        return container
    turn = {"name": _START_AFTER, "value": start_after.isoformat().replace("+00:00", "Z")}
    return container | {"env": [*container["env"], turn]}


@_kept
def _sidecar(binding: Binding, defaults: SidecarDefaults) -> Json:
    settings, wiring = defaults.settings_for(binding), _wiring(binding, defaults)
    return {
        "name": SIDECAR_CONTAINER,
        "image": defaults.image_for(binding),
        "args": list(SIDECAR_ARGS),
        "restartPolicy": "Always",
        "env": [*wiring.env, *_sidecar_environment(binding, settings)],
        "resources": wiring.added_to(defaults.resources_for(binding)),
        # Holds back the containers that follow until credentials are at hand. There is no
        # readinessProbe on purpose: the pod must not leave its Services when AWS has an outage.
        "startupProbe": {
            "exec": {"command": list(SIDECAR_PROBE)},
            "periodSeconds": PROBE_PERIOD_SECONDS,
            # The probe itself gives up before; the rest is for its start on a busy node.
            "timeoutSeconds": 2 * PROBE_PERIOD_SECONDS,
            "failureThreshold": STARTUP_PATIENCE_SECONDS // PROBE_PERIOD_SECONDS,
        },
        # Whether the process still turns, whatever AWS says: a restart cures nothing else.
        "livenessProbe": {
            "httpGet": {"path": LIVENESS_PATH, "port": settings.probe_port},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "securityContext": _security_context(wiring.group or SIDECAR_USER),
        "volumeMounts": [
            {"name": IDENTITY_VOLUME, "mountPath": IDENTITY_DIRECTORY, "readOnly": True},
            {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIRECTORY},
            # Admission puts the pod's API token into every container that has nothing there.
            {"name": EMPTY_VOLUME, "mountPath": API_TOKEN_DIRECTORY, "readOnly": True},
            *wiring.mounts,
        ],
    }


@_kept
def volumes(binding: Binding, defaults: SidecarDefaults) -> Sequence[Json]:
    """The identity, for the sidecar alone, token and session, in memory, a volume with nothing, and
    what this binding's sidecars need besides.

    What is in memory does not keep a cluster autoscaler from removing the node, unlike what is on
    the node's disk.
    """
    return [
        {"name": IDENTITY_VOLUME, **identityvolumes.source(binding.identity, group=SIDECAR_USER)},
        {"name": TOKEN_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "64Ki"}},
        {"name": EMPTY_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "4Ki"}},
        *_wiring(binding, defaults).volumes,
    ]


def token_mount() -> Json:
    """How a chosen container mounts the token."""
    return {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIRECTORY, "readOnly": True}


@_kept
def container_credentials(binding: Binding) -> Mapping[str, str]:
    """Where an SDK finds the sidecar, and what it shows there.

    One without the other is worse than neither: the token would go to somebody else's endpoint.
    """
    return {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": (
            f"http://127.0.0.1:{binding.settings.port}{CREDENTIALS_PATH}"
        ),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": TOKEN_PATH,
    }


@_kept
def imds(binding: Binding) -> Mapping[str, str]:
    """Where an SDK looks for IMDS, or that it must not look for the node's."""
    if not binding.settings.imds:
        return {"AWS_EC2_METADATA_DISABLED": "true"}
    # AWS CLI v2 before 2.28.3 needs the slash at the end (aws/aws-cli#9281).
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{binding.settings.port}/"}


@_kept
def region(binding: Binding) -> Mapping[str, str]:
    """The region of the session; SDKs read the one or the other."""
    return dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), binding.settings.signing_region)


def _wiring(binding: Binding, defaults: SidecarDefaults) -> Wiring:
    identity = binding.identity
    token = tokenwiring.of(identity) if isinstance(identity, TokenIdentity) else NO_WIRING
    # Of two variables with one name the last counts, and the way out is the sidecar's to know.
    return token.joined(egresswiring.of(defaults.egress_for(binding)))


def _sidecar_environment(binding: Binding, told: Settings) -> list[Json]:
    settings = [{"name": name, "value": literal(value)} for name, value in told.to_env().items()]
    template = binding.role_session_name
    if template is None:
        return settings
    # $(NAME) expands only what stands before it (Kubernetes, "dependent environment variables").
    used = {word: spelling for word, spelling in _WORDS.items() if f"{{{word}}}" in template}
    for word, (name, _) in used.items():
        template = template.replace(f"{{{word}}}", f"$({name})")
    fields = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in used.values()
    ]
    return [*fields, *settings, {"name": variable("role_session_name"), "value": template}]


def _security_context(group: int) -> Json:
    """What Pod Security "restricted" asks for, whatever the pod itself says."""
    return {
        "runAsNonRoot": True,
        "runAsUser": SIDECAR_USER,
        "runAsGroup": group,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
