"""Answers as text for people, 80 columns wide, and as data for programs.

Never decides what to say of a pod, only how.
"""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from rolesanywhere_operator.domain import pods
from rolesanywhere_operator.domain.decisions import Inject, Leave, Refuse
from rolesanywhere_operator.domain.explanation import Explanation
from rolesanywhere_operator.domain.trust import Need, Trust

COLUMNS: Final = 80
_LABEL: Final = 10


def field(label: str, text: str, *, width: int = _LABEL, hang: int = 0) -> str:
    """``label`` and its text in two columns; what cannot be broken stays whole.

    Where the text goes on it stands ``hang`` further in.
    """
    return textwrap.fill(
        text,
        COLUMNS,
        initial_indent=f"  {label:<{width}}  ",
        subsequent_indent=" " * (width + 4 + hang),
        break_long_words=False,
        break_on_hyphens=False,
    )


def explained(explanation: Explanation) -> str:
    """An explanation for people."""
    return "\n".join([_headline(explanation), "", *_facts(explanation)]) + "\n"


def explained_as_data(explanation: Explanation) -> dict[str, Any]:
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


def as_json(value: object) -> str:
    """``value`` as JSON that people can read."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def as_yaml(values: Sequence[object]) -> str:
    """``values`` as YAML, a document each."""
    return yaml.dump_all(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=COLUMNS)


class _Dumper(yaml.SafeDumper):
    """Without anchors: kubectl reads them, people do not."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def trusted(trust: Trust) -> str:
    """A trust policy and what goes with it, for people."""
    name, binding = trust.binding.settings.role_arn.name, trust.binding
    title = f"Trust policy of role {name}, for binding {binding.namespace}/{binding.name}:"
    return "\n".join([title, "", as_json(trust.policy), needed(trust)])


def needed(trust: Trust) -> str:
    """What else has to be set in AWS, for people; then the warnings."""
    settings = trust.binding.settings
    lines = [f"Profile {settings.profile_arn.uuid} needs:", "", *_needs(trust.profile)]
    if trust.role:
        lines += ["", f"Role {settings.role_arn.name} needs:", "", *_needs(trust.role)]
    for warning in trust.warnings:
        lines += ["", _paragraph(f"warning: {warning}")]
    return "\n".join(lines) + "\n"


def _needs(needs: Sequence[Need]) -> list[str]:
    width = max(len(need.setting) for need in needs)
    return [field(need.setting, need.value, width=width) for need in needs]


def _paragraph(text: str) -> str:
    return textwrap.fill(text, COLUMNS, break_long_words=False, break_on_hyphens=False)


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
        yield from _listed("why", explanation.notes)
        return
    decision = explanation.decision
    chosen = None
    if isinstance(decision, Inject):
        chosen = decision.binding.name
        yield from _injection(explanation, decision)
    else:
        yield field("why", explanation.why)
    others = [f"{one.name}: {one.why}" for one in explanation.candidates if one.name != chosen]
    yield from _listed("not chosen" if chosen else "bindings", others)
    yield from _listed("not ready", explanation.unready)
    yield from _listed("note", explanation.notes)


def _listed(label: str, sentences: Iterable[str]) -> Iterator[str]:
    for number, sentence in enumerate(sentences):
        yield field("" if number else label, sentence, hang=2)


def _injection(explanation: Explanation, decision: Inject) -> Iterator[str]:
    binding, pod = decision.binding, explanation.workload.pod
    after = explanation.pod or {}
    yield field("binding", f"{binding.name}: {explanation.why}")
    yield field("role", str(binding.settings.role_arn))
    yield field("identity", str(binding.identity))
    yield field("containers", ", ".join(decision.containers))
    names = [str(one["name"]) for one in pods.every_container(pod)]
    if left_out := [name for name in names if name not in decision.containers]:
        yield field("without", ", ".join(left_out))
    if not explanation.operations:
        yield field("adds", "nothing: the pod has its sidecar already")
        return
    yield from _listed("adds", _additions(pod, after))


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
