"""An explanation, as text for people and as data for programs.

Never decides what becomes of a pod, only how that is told.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rolesanywhere_operator.cli.printing import field, listed
from rolesanywhere_operator.domain import pods
from rolesanywhere_operator.domain.decisions import Inject, Leave, Refuse
from rolesanywhere_operator.domain.egress import Egress
from rolesanywhere_operator.domain.explanation import Explanation


def as_text(explanation: Explanation) -> str:
    """An explanation for people."""
    return "\n".join([_headline(explanation), "", *_facts(explanation)]) + "\n"


def as_data(explanation: Explanation) -> dict[str, Any]:
    """An explanation for programs; ``pod`` is there when it is injected."""
    decision, workload = explanation.decision, explanation.workload
    data: dict[str, Any] = {
        "kind": workload.kind,
        "namespace": explanation.namespace,
        "name": workload.name,
        "injected": explanation.is_yes,
        "decision": type(decision).__name__.lower(),
        "reason": str(decision.reason),
        "sentence": explanation.why,
        "bindings": [
            {"name": one.name, "fits": one.fits, "why": one.why} for one in explanation.candidates
        ],
        "notReady": list(explanation.unready),
        "notes": list(explanation.notes),
    }
    if isinstance(decision, Inject):
        data |= {"binding": decision.binding.name, "containers": list(decision.containers)}
    elif isinstance(decision, Refuse):
        data |= {"binding": decision.binding}
    return data | ({"pod": explanation.pod} if explanation.is_yes else {})


def _headline(explanation: Explanation) -> str:
    workload, decision = explanation.workload, explanation.decision
    subject = f"{workload.kind} {explanation.namespace}/{workload.name}"
    if workload.at:
        subject = f"Pods of {subject}"
    verb = {Inject: "injected", Leave: "left alone", Refuse: "refused"}[type(decision)]
    if not explanation.is_seen:
        return f"{subject}: never shown to the webhook"
    return f"{subject}: {verb}, {decision.reason}"


def _facts(explanation: Explanation) -> Iterator[str]:
    if not explanation.is_seen:
        yield from listed("why", explanation.notes)
        return
    decision = explanation.decision
    chosen = None
    if isinstance(decision, Inject):
        chosen = decision.binding.name
        yield from _injection(explanation, decision)
    else:
        yield field("why", explanation.why)
    others = [f"{one.name}: {one.why}" for one in explanation.candidates if one.name != chosen]
    yield from listed("not chosen" if chosen else "bindings", others)
    yield from listed("not ready", explanation.unready)
    yield from listed("note", explanation.notes)


def _injection(explanation: Explanation, decision: Inject) -> Iterator[str]:
    binding, pod = decision.binding, explanation.workload.pod
    after = explanation.pod or {}
    yield field("binding", f"{binding.name}: {explanation.why}")
    yield field("role", str(binding.settings.role_arn))
    yield field("identity", str(binding.identity))
    if explanation.egress is not None:
        yield from _way_out(explanation.egress)
    yield field("containers", ", ".join(decision.containers))
    names = [str(one["name"]) for one in pods.every_container(pod)]
    if left_out := [name for name in names if name not in decision.containers]:
        yield field("without", ", ".join(left_out))
    if not explanation.operations:
        yield field("adds", "nothing: the pod has its sidecar already")
        return
    yield from listed("adds", _additions(pod, after))


def _way_out(egress: Egress) -> Iterator[str]:
    """What leads the sidecar to AWS otherwise than usual."""
    if egress.proxy.url or egress.proxy.secret:
        yield field("proxy", str(egress.proxy))
    if egress.ca_bundle.config_map:
        yield field("CA bundle", str(egress.ca_bundle.config_map))


def _additions(pod: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What ``after`` has that ``pod`` has not, a sentence a place."""
    before = {one["name"]: one for one in pods.every_container(pod)}
    for container in pods.every_container(after):
        if container["name"] not in before:
            yield f"init container {container['name']}, first, of image {container['image']}"
    known = {one["name"] for one in pods.volumes(pod)}
    if volumes := [one["name"] for one in pods.volumes(after) if one["name"] not in known]:
        yield f"volumes {', '.join(volumes)}"
    for container in pods.every_container(after):
        if container["name"] in before and (new := _news(before[container["name"]], container)):
            yield f"in {container['name']}: {', '.join(new)}"


def _news(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    old = {one["name"]: one for one in pods.environment(before)}
    variables = [one["name"] for one in pods.environment(after) if old.get(one["name"]) != one]
    mounted = [one["mountPath"] for one in pods.mounts(before)]
    mounts = [one["mountPath"] for one in pods.mounts(after) if one["mountPath"] not in mounted]
    return [*variables, *(f"mount {path}" for path in mounts)]
