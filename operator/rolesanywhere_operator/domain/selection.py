"""Which binding serves a pod, and which of its containers: one decision with one reason.

Never patches: what injecting means is `injection`'s to know.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rolesanywhere_contract.names import (
    BINDING_ANNOTATION,
    CONTAINERS_ANNOTATION,
    INJECT_ANNOTATION,
    SIDECAR_CONTAINER,
    SKIP_CONTAINERS_ANNOTATION,
)
from rolesanywhere_operator.domain import hazards, pods
from rolesanywhere_operator.domain.bindings import Binding, Entry, InvalidBinding, not_allowed
from rolesanywhere_operator.domain.decisions import Decision, Inject, Leave, Reason, Refuse
from rolesanywhere_operator.domain.pods import Json

Bindings = Mapping[str, Entry]


class _Refused(Exception):
    """Carries a refusal to `decide`, the only one who catches it."""

    def __init__(self, reason: Reason, sentence: str, binding: str | None = None) -> None:
        self.refusal = Refuse(reason, sentence, binding)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a pod's annotations ask for; ``binding`` is the one they name."""

    binding: str | None


def decide(pod: Json, namespace: str, bindings: Bindings) -> Decision:
    """What becomes of ``pod``, given all the bindings of its namespace by name."""
    try:
        wish = _wish(pods.annotations(pod))
        if isinstance(wish, Leave):
            return wish
        if refusal := hazards.of_pod(pod):
            return refusal
        reason, binding = _binding(wish, pod, namespace, bindings)
        return hazards.of_pod_with(pod, binding) or Inject(reason, binding, _chosen(pod))
    except _Refused as refused:
        return refused.refusal


def asks(pod: Json) -> bool:
    """Whether ``pod`` asks for credentials, or tries to in a way that is refused."""
    try:
        return isinstance(_wish(pods.annotations(pod)), _Wish)
    except _Refused:
        return True


def mismatch(binding: Binding, pod: Json) -> str | None:
    """Why ``binding`` is not for ``pod``, if it is not."""
    labels = pods.labels(pod)
    for requirement in binding.requirements:
        if not requirement.is_met_by(labels):
            got = labels.get(requirement.key)
            there = "which the pod lacks" if got is None else f"the pod's is {got!r}"
            return f"its podSelector wants label {requirement}, {there}"
    account, allowed = pods.service_account(pod), binding.service_account_names
    if allowed and account not in allowed:
        return f"it is for ServiceAccount {' or '.join(sorted(allowed))}, the pod has {account}"
    return None


def _wish(annotations: Mapping[str, str]) -> _Wish | Leave:
    inject, name = annotations.get(INJECT_ANNOTATION), annotations.get(BINDING_ANNOTATION)
    if inject not in (None, "true", "false"):
        raise _Refused(
            Reason.MALFORMED_ANNOTATION,
            f'annotation {INJECT_ANNOTATION} is {inject!r}, expected "true" or "false"',
        )
    if name is not None and inject == "false":
        raise _Refused(
            Reason.CONTRADICTORY_ANNOTATIONS,
            f'annotation {INJECT_ANNOTATION} is "false" but {BINDING_ANNOTATION} names {name!r};'
            " remove one of them",
        )
    if name is not None and not name.strip():
        raise _Refused(
            Reason.MALFORMED_ANNOTATION,
            f"annotation {BINDING_ANNOTATION} is empty, expected the name of a binding of the"
            f" pod's namespace; or let the pod's labels choose with {INJECT_ANNOTATION}: \"true\"",
        )
    if inject == "false":
        return Leave(Reason.OPTED_OUT)
    if inject is None and name is None:
        return _unasked(annotations)
    return _Wish(name)


def _unasked(annotations: Mapping[str, str]) -> Leave:
    """Left alone; refused where the author seems to think that they asked."""
    for annotation in (CONTAINERS_ANNOTATION, SKIP_CONTAINERS_ANNOTATION):
        if annotation in annotations:
            raise _Refused(
                Reason.INCOMPLETE_ANNOTATIONS,
                f"annotation {annotation} chooses containers, but nothing asks for credentials;"
                f' add {INJECT_ANNOTATION}: "true" or {BINDING_ANNOTATION}, or remove it',
            )
    return Leave(Reason.NOT_ASKED)


def _binding(wish: _Wish, pod: Json, namespace: str, bindings: Bindings) -> tuple[Reason, Binding]:
    if wish.binding is None:
        reason, binding = Reason.BINDING_SELECTED, _only_match(pod, namespace, bindings)
    else:
        reason, binding = Reason.BINDING_NAMED, _named(wish.binding, pod, namespace, bindings)
    if problem := not_allowed(binding):
        raise _Refused(
            Reason.HOST_PATH_NOT_ALLOWED,
            f"binding {namespace}/{binding.name}: {problem}",
            binding.name,
        )
    return reason, binding


def _named(name: str, pod: Json, namespace: str, bindings: Bindings) -> Binding:
    binding = bindings.get(name)
    if binding is None:
        there = ", ".join(sorted(bindings)) or "none"
        raise _Refused(
            Reason.BINDING_NOT_FOUND,
            f"namespace {namespace} has no binding {name!r} that annotation {BINDING_ANNOTATION}"
            f" asks for; there: {there}",
        )
    if isinstance(binding, InvalidBinding):
        raise _Refused(
            Reason.INVALID_BINDING, f"binding {namespace}/{name} is not valid: {binding}", name
        )
    if problem := mismatch(binding, pod):
        raise _Refused(
            Reason.BINDING_DOES_NOT_MATCH,
            f"binding {namespace}/{name} is not for this pod: {problem};"
            " change the pod, or the binding's selectors",
            name,
        )
    return binding


def _only_match(pod: Json, namespace: str, bindings: Bindings) -> Binding:
    valid = [binding for binding in bindings.values() if isinstance(binding, Binding)]
    matching = {binding.name: binding for binding in valid if mismatch(binding, pod) is None}
    if len(matching) > 1:
        raise _Refused(
            Reason.SEVERAL_BINDINGS_MATCH,
            f"several bindings of namespace {namespace} match this pod:"
            f" {', '.join(sorted(matching))}; choose one with annotation {BINDING_ANNOTATION}",
        )
    if not matching:
        broken = sorted(name for name, one in bindings.items() if isinstance(one, InvalidBinding))
        also = f", and not valid: {', '.join(broken)}" if broken else ""
        there = ", ".join(sorted(binding.name for binding in valid)) or "none"
        raise _Refused(
            Reason.NO_BINDING_MATCHES,
            f"no binding of namespace {namespace} matches this pod's labels and its ServiceAccount"
            f" {pods.service_account(pod)}; there: {there}{also};"
            " create one, or change the selectors of one",
        )
    return next(iter(matching.values()))


def _chosen(pod: Json) -> tuple[str, ...]:
    """The containers that get credentials, in the pod's order."""
    wanted = _listed(pod, CONTAINERS_ANNOTATION)
    skipped = _listed(pod, SKIP_CONTAINERS_ANNOTATION) or frozenset()
    if wanted is not None and (both := wanted & skipped):
        raise _Refused(
            Reason.CONTRADICTORY_ANNOTATIONS,
            f"annotations {CONTAINERS_ANNOTATION} and {SKIP_CONTAINERS_ANNOTATION} both name"
            f" {', '.join(sorted(both))}; remove it from one of them",
        )
    reachable = [container["name"] for container in _after_ours(pod)] if wanted is None else [
        name for name in _names(pod) if name in wanted
    ]  # fmt: skip
    if not reachable:
        raise _Refused(
            Reason.NO_CONTAINER,
            "the pod has no container that could get credentials; add one under spec.containers",
        )
    chosen = tuple(name for name in reachable if name not in skipped)
    if not chosen:
        raise _Refused(
            Reason.NO_CONTAINER,
            f"annotation {SKIP_CONTAINERS_ANNOTATION} leaves no container to get credentials;"
            f' name fewer, or opt out with {INJECT_ANNOTATION}: "false"',
        )
    return chosen


def _after_ours(pod: Json) -> list[Json]:
    """The containers that start once our sidecar runs.

    It is put first, but another webhook may since have put something before it.
    """
    init = list(pods.init_containers(pod))
    names = [container.get("name") for container in init]
    if SIDECAR_CONTAINER in names:
        init = init[names.index(SIDECAR_CONTAINER) + 1 :]
    return [*init, *pods.containers(pod)]


def _names(pod: Json) -> list[str]:
    names = [str(container.get("name")) for container in pods.every_container(pod)]
    return [name for name in names if name != SIDECAR_CONTAINER]


def _listed(pod: Json, annotation: str) -> frozenset[str] | None:
    """The container names of an annotation; None without it."""
    text = pods.annotations(pod).get(annotation)
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise _Refused(
            Reason.MALFORMED_ANNOTATION,
            f"annotation {annotation} is {text!r}, expected container names with commas between",
        )
    there = _names(pod)
    if strangers := sorted(set(names) - set(there)):
        raise _Refused(
            Reason.UNKNOWN_CONTAINER,
            f"annotation {annotation} names {', '.join(strangers)}, which this pod has not;"
            f" its containers: {', '.join(there)}",
        )
    return frozenset(names)
