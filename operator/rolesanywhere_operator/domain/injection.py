"""From a pod and a decision to JSON patch operations (RFC 6902) on the pod as it was sent.

Adds only what is missing, so doing it twice does it once. Never rebuilds an object that is not
ours: whatever this version does not know of stays as it is, to the byte.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from rolesanywhere_contract.names import (
    BINDING_LABEL,
    INJECTED_ANNOTATION,
    TOKEN_VOLUME,
)
from rolesanywhere_operator.domain import manifests, marks, pods
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.domain.decisions import Inject
from rolesanywhere_operator.domain.marks import Mark
from rolesanywhere_operator.domain.pods import Json
from rolesanywhere_operator.domain.sidecardefaults import SidecarDefaults

Operation = dict[str, Any]

# A container that sets one of these has its own way to credentials.
_OWN_CREDENTIALS: Final = frozenset(
    {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    }
)
_PROXIES: Final = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"}
)
_NO_PROXIES: Final = ("NO_PROXY", "no_proxy")
_DIRECT: Final = ("127.0.0.1", "localhost")


def inject(
    pod: Json,
    decision: Inject,
    *,
    defaults: SidecarDefaults,
    start_after: datetime | None = None,
) -> list[Operation]:
    """The operations that make ``pod`` the pod it should be; none when it is that already.

    ``start_after`` is its turn in a fleet; a sidecar that is there keeps the one it has.
    """
    binding = decision.binding
    injected = marks.is_injected(pod)
    operations = [
        *_container_operations(pod, decision),
        *_volume_operations(pod, binding, defaults, injected=injected),
        *_mark_operations(pod, decision, image=defaults.image_for(binding), injected=injected),
    ]
    # Last, because it moves the init containers that the operations above point at.
    if not injected:
        first = manifests.sidecar(binding, defaults, start_after=start_after)
        operations += _insert(pods.spec(pod), "/spec", "initContainers", [first], at="0")
    return operations


def _container_operations(pod: Json, decision: Inject) -> Iterator[Operation]:
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(pods.spec(pod).get(kind) or ()):
            if container.get("name") in decision.containers:
                path = f"/spec/{kind}/{index}"
                yield from _environment_operations(container, path, decision.binding)
                yield from _mount_operations(container, path)


def _environment_operations(container: Json, path: str, binding: Binding) -> Iterator[Operation]:
    present = {str(variable.get("name")): variable for variable in pods.environment(container)}
    exceptions = _proxy_exceptions(present)
    wanted = _variables(container, present, binding) | exceptions
    if exceptions:
        yield from _exception_operations(container, path, present, exceptions)
    missing = [
        {"name": name, "value": value} for name, value in wanted.items() if name not in present
    ]
    yield from _insert(container, path, "env", missing)


def _exception_operations(
    container: Json, path: str, present: Mapping[str, Json], exceptions: Mapping[str, str]
) -> Iterator[Operation]:
    """What makes those that are there say what they have to."""
    for index, variable in enumerate(pods.environment(container)):
        name = str(variable.get("name"))
        # Of two with one name the last counts.
        if name in exceptions and variable is present[name]:
            value = exceptions[name]
            if value != variable.get("value"):
                # Not "replace": the API server drops an empty value, and the member with it.
                yield {"op": "add", "path": f"{path}/env/{index}/value", "value": value}


def _variables(container: Json, present: Mapping[str, Json], binding: Binding) -> dict[str, str]:
    wanted = dict(manifests.imds(binding))
    if _OWN_CREDENTIALS.isdisjoint(present):
        wanted |= manifests.container_credentials(binding)
    region = manifests.region(binding)
    if region.keys().isdisjoint(present) and not _may_come_from_elsewhere(container, region):
        wanted |= region
    return wanted


def _may_come_from_elsewhere(container: Json, names: Mapping[str, str]) -> bool:
    """Whether an ``envFrom`` could set one of ``names``; what it holds is not ours to read."""
    prefixes = [str(source.get("prefix") or "") for source in container.get("envFrom") or ()]
    return any(name.startswith(prefix) for prefix in prefixes for name in names)


def _proxy_exceptions(present: Mapping[str, Json]) -> dict[str, str]:
    """What each spelling of NO_PROXY has to say to name us too; nothing without a proxy.

    Some programs read one spelling only, others prefer either. So a spelling that is absent or
    empty takes over the other's exceptions: ours alone would hide them.
    """
    if _PROXIES.isdisjoint(present):
        return {}
    upper, lower = (_literal_value(present.get(name) or {}) for name in _NO_PROXIES)
    return {
        name: _with_us(value)
        for name, own, other in (("NO_PROXY", upper, lower), ("no_proxy", lower, upper))
        if own is not None and (value := own or other) is not None
    }


def _literal_value(variable: Json) -> str | None:
    """What a variable says; None where it comes from elsewhere, which is not ours to read."""
    if variable.get("valueFrom"):
        return None
    value = str(variable.get("value") or "")
    return value if value.strip() else ""


def _with_us(value: str) -> str:
    """``value`` of a NO_PROXY, and our addresses where it lacks them."""
    if value.strip() == "*":
        return value
    listed = {entry.strip() for entry in value.split(",")}
    missing = [host for host in _DIRECT if host not in listed]
    return ",".join([*([value] if value else []), *missing])


def _mount_operations(container: Json, path: str) -> list[Operation]:
    if any(mount.get("name") == TOKEN_VOLUME for mount in pods.mounts(container)):
        return []
    return _insert(container, path, "volumeMounts", [manifests.token_mount()])


def _volume_operations(
    pod: Json, binding: Binding, defaults: SidecarDefaults, *, injected: bool
) -> list[Operation]:
    wanted = manifests.volumes(binding, defaults)
    if injected:
        # The sidecar of an earlier injection stays as it is, and what it has no use for could keep
        # the pod waiting.
        used = marks.mounted_by_sidecar(pod)
        wanted = [volume for volume in wanted if volume["name"] in used]
    there = {volume.get("name") for volume in pods.volumes(pod)}
    missing = [volume for volume in wanted if volume["name"] not in there]
    return _insert(pods.spec(pod), "/spec", "volumes", missing)


def _mark_operations(
    pod: Json, decision: Inject, *, image: str, injected: bool
) -> Iterator[Operation]:
    binding = decision.binding
    fresh = Mark(
        binding=binding.name,
        generation=binding.generation,
        image=image,
        containers=decision.containers,
    )
    # The sidecar of an earlier injection stays as it is, and so does what is said of it.
    earlier = marks.read(pod) if injected else None
    mark = replace(earlier, containers=decision.containers) if earlier else fresh
    yield from _put(pod, "labels", BINDING_LABEL, mark.binding)
    yield from _put(pod, "annotations", INJECTED_ANNOTATION, str(mark))


def _put(pod: Json, field: str, key: str, value: str) -> Iterator[Operation]:
    """Set one key of the pod's labels or annotations."""
    there = pods.metadata(pod).get(field)
    if not there:
        yield {"op": "add", "path": f"/metadata/{field}", "value": {key: value}}
    elif there.get(key) != value:
        yield {"op": "add", "path": f"/metadata/{field}/{_escaped(key)}", "value": value}


def _insert(
    parent: Json, path: str, field: str, items: list[dict[str, Any]], *, at: str = "-"
) -> list[Operation]:
    """Add ``items`` to a list of ``parent``, which may be absent or null."""
    if not items:
        return []
    if not parent.get(field):
        return [{"op": "add", "path": f"{path}/{field}", "value": items}]
    place = f"{path}/{field}/{at}"
    return [{"op": "add", "path": place, "value": item} for item in items]


def _escaped(key: str) -> str:
    """``key`` as one step of a JSON pointer (RFC 6901, section 3)."""
    return key.replace("~", "~0").replace("/", "~1")
