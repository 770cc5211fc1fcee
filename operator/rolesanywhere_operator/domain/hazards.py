"""What makes it unsafe, or impossible, to put a sidecar into a pod.

Never looks at annotations: what the pod's author wants is `selection`'s to know.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from posixpath import normpath
from typing import Final

from rolesanywhere_contract.names import (
    CA_BUNDLE_VOLUME,
    EMPTY_VOLUME,
    IDENTITY_VOLUME,
    PKCS11_VOLUMES,
    SIDECAR_CONTAINER,
    TOKEN_DIRECTORY,
    TOKEN_VOLUME,
)
from rolesanywhere_operator.domain import certnames, manifests, marks, pods
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.domain.decisions import Reason, Refuse
from rolesanywhere_operator.domain.identities import PerPodIdentity
from rolesanywhere_operator.domain.pods import Json


def of_pod(pod: Json) -> Refuse | None:
    """What no binding could allow."""
    spec = pods.spec(pod)
    if spec.get("hostNetwork") is True:
        return Refuse(
            Reason.HOST_NETWORK,
            "the pod has hostNetwork, so every process of the node could reach its credentials;"
            " run it without hostNetwork",
        )
    if _is_for_windows(spec):
        return Refuse(
            Reason.WINDOWS,
            "the pod is for Windows, and the sidecar for Linux alone; run it on Linux",
        )
    return None


def _is_for_windows(spec: Json) -> bool:
    """By what it says of itself, or, as was usual before it could, by the nodes it goes to."""
    nodes = spec.get("nodeSelector") or {}
    systems = ((spec.get("os") or {}).get("name"), nodes.get("kubernetes.io/os"))
    return "windows" in systems


def of_pod_with(pod: Json, binding: Binding) -> Refuse | None:
    """What stands between this pod and this binding."""
    checks = (
        _shared_processes(pod, binding),
        _taken_port(pod, binding),
        *_taken_names(pod),
        *_long_names(pod, binding),
        _other_binding(pod, binding),
    )
    found = next((refusal for refusal in checks if refusal is not None), None)
    return found and replace(found, binding=binding.name)


def _shared_processes(pod: Json, binding: Binding) -> Refuse | None:
    if binding.allow_shared_process_namespace:
        return None
    spec = pods.spec(pod)
    shared = [name for name in ("shareProcessNamespace", "hostPID") if spec.get(name) is True]
    if not shared:
        return None
    return Refuse(
        Reason.SHARED_PROCESS_NAMESPACE,
        f"the pod has {shared[0]}, so other containers could read the sidecar's key through /proc;"
        f" remove it, or set spec.allowSharedProcessNamespace in binding {binding.name}",
    )


def _taken_port(pod: Json, binding: Binding) -> Refuse | None:
    ours = {binding.settings.port: "credentials", binding.settings.probe_port: "probes"}
    for container in pods.every_container(pod):
        if container.get("name") == SIDECAR_CONTAINER:
            continue
        for port in container.get("ports") or ():
            number = port.get("containerPort")
            if number in ours and port.get("protocol") in (None, "TCP"):
                way_out = (
                    f"set spec.sidecar.port in binding {binding.name}"
                    if number == binding.settings.port
                    else "use another port in the container"
                )
                return Refuse(
                    Reason.PORT_TAKEN,
                    f"container {container.get('name')} has port {number}, which the sidecar needs"
                    f" for {ours[number]}; {way_out}",
                )
    return None


def _long_names(pod: Json, binding: Binding) -> Iterator[Refuse]:
    """What cannot be in the certificate that would be issued for this pod: it is never cut."""
    if not isinstance(binding.identity, PerPodIdentity):
        return
    for field, template in binding.identity.wanted.names():
        length = len(_filled(template, pod, binding))
        if length > certnames.LENGTHS[field]:
            yield Refuse(
                Reason.NAME_TOO_LONG,
                f"the pod's certificate would have a name of {length} characters, expected"
                f" {certnames.LENGTHS[field]} at most: {template}; shorten the pod's names, or"
                f" spec.identity.certManager.{field} in binding {binding.name}",
            )


def _filled(template: str, pod: Json, binding: Binding) -> str:
    return certnames.filled(
        template,
        pod=pods.some_name(pod),
        namespace=binding.namespace,
        service_account=pods.service_account(pod),
        uid=certnames.SOME_UID,
    )


def _other_binding(pod: Json, binding: Binding) -> Refuse | None:
    mark = marks.read(pod)
    if mark is None or not marks.is_injected(pod) or mark.binding == binding.name:
        return None
    return Refuse(
        Reason.INJECTED_FOR_ANOTHER,
        f"the pod was made from one that was injected for binding {mark.binding}, and is now to be"
        f" served by {binding.name}; create it from its original manifest, without what injection"
        " added",
    )


def _taken_names(pod: Json) -> Iterator[Refuse]:
    ours = marks.is_injected(pod)
    for what in chain(_strange_containers(pod, ours=ours), _strange_mounts(pod, ours=ours)):
        yield Refuse(
            Reason.NAME_TAKEN, f"{what}, which is reserved for the sidecar; choose another"
        )
    if ours:
        return
    for volume in pods.volumes(pod):
        name = str(volume.get("name"))
        if name in (TOKEN_VOLUME, EMPTY_VOLUME) or _is_the_sidecars_alone(name):
            yield Refuse(
                Reason.NAME_TAKEN,
                f"the pod has a volume {name}, which is reserved for the sidecar;"
                " choose another name",
            )


def _strange_containers(pod: Json, *, ours: bool) -> Iterator[str]:
    init = () if ours else pods.init_containers(pod)
    for container in (*init, *pods.containers(pod)):
        if container.get("name") == SIDECAR_CONTAINER:
            yield f"the pod has a container {SIDECAR_CONTAINER} of its own"


def _strange_mounts(pod: Json, *, ours: bool) -> Iterator[str]:
    for container in pods.every_container(pod):
        if container.get("name") != SIDECAR_CONTAINER:
            for mount in _strange(pods.mounts(container), ours=ours):
                yield f"container {container.get('name')} mounts {mount}"


def _strange(mounts: Iterable[Json], *, ours: bool) -> Iterator[str]:
    """What a container may not mount: what is the sidecar's alone, at all; the token but as we
    mount it ourselves."""
    for mount in mounts:
        name, path = str(mount.get("name")), str(mount.get("mountPath"))
        if _is_the_sidecars_alone(name):
            yield f"volume {name}"
        elif name == TOKEN_VOLUME or _hides_the_token(path):
            as_ours = ours and _is_our_token_mount(mount)
            if not as_ours:
                yield f"volume {name} at {path.rstrip('/')}"


def _is_the_sidecars_alone(volume: str) -> bool:
    return volume in (IDENTITY_VOLUME, CA_BUNDLE_VOLUME) or volume.startswith(PKCS11_VOLUMES)


def _is_our_token_mount(mount: Json) -> bool:
    whole = not mount.get("subPath") and not mount.get("subPathExpr")
    return whole and manifests.token_mount().items() <= mount.items()


def _hides_the_token(path: str) -> bool:
    """Whether a mount at ``path`` would hide the token's folder or something in it.

    One above it does not: what is mounted deeper is mounted later.
    """
    return f"{_resolved(path)}/".startswith(_TOKEN_FOLDER)


def _resolved(path: str) -> str:
    """Where a mount ends up: a relative one at the root, and /var/run is a link to /run."""
    whole = normpath("/" + path.lstrip("/"))
    return whole.removeprefix("/var") if f"{whole}/".startswith("/var/run/") else whole


_TOKEN_FOLDER: Final = f"{_resolved(TOKEN_DIRECTORY)}/"
