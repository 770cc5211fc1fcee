"""What admission would do to a pod, and why: the webhook's own decision, told in full.

Never decides: `selection` and `injection` do, for the webhook and for us.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rolesanywhere_contract.names import (
    BINDING_ANNOTATION,
    CONTAINERS_ANNOTATION,
    INJECT_ANNOTATION,
    SKIP_CONTAINERS_ANNOTATION,
)
from rolesanywhere_operator.domain import (
    bindings,
    injection,
    patching,
    pods,
    podsecurity,
    selection,
)
from rolesanywhere_operator.domain.bindings import Entry, InvalidBinding
from rolesanywhere_operator.domain.certnames import DEFAULT_TRUST_DOMAIN
from rolesanywhere_operator.domain.conditions import Truth
from rolesanywhere_operator.domain.decisions import Decision, Inject, Reason, Refuse
from rolesanywhere_operator.domain.egress import Egress
from rolesanywhere_operator.domain.sidecardefaults import SidecarDefaults
from rolesanywhere_operator.domain.untyped import items, mapping
from rolesanywhere_operator.domain.workloads import Workload

Json = Mapping[str, Any]

# The chart keeps the webhook away from it, so that a cluster can come up without us.
UNSEEN_NAMESPACE: Final = "kube-system"

_ASKING: Final = (
    INJECT_ANNOTATION, BINDING_ANNOTATION, CONTAINERS_ANNOTATION, SKIP_CONTAINERS_ANNOTATION,
)  # fmt: skip

# What every SDK looks at before it asks the sidecar ("AWS SDKs and Tools Reference Guide",
# credential provider chain).
_FIRST_CHOICES: Final = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_PROFILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the webhook was set up with; ``host_paths`` None where that is not known."""

    sidecars: SidecarDefaults
    trust_domain: str = DEFAULT_TRUST_DOMAIN
    host_paths: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A binding of the pod's namespace: whether it is for the pod, and a sentence on why not."""

    name: str
    fits: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Of one pod. ``pod`` is as it would be, and ``egress`` its sidecar's way to AWS, both None
    unless injected; ``unready`` is what the status of its binding says against it, ``notes`` what
    else its author might want to know."""

    workload: Workload
    namespace: str
    decision: Decision
    why: str
    candidates: tuple[Candidate, ...]
    operations: tuple[injection.Operation, ...]
    pod: Json | None
    egress: Egress | None
    unready: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_seen(self) -> bool:
        """Whether the webhook is asked about pods of this namespace at all."""
        return self.namespace != UNSEEN_NAMESPACE

    @property
    def is_yes(self) -> bool:
        """Whether the pod gets what it asks for."""
        return self.is_seen and isinstance(self.decision, Inject)


def explain(
    workload: Workload,
    namespace: str,
    raw_bindings: Mapping[str, Json],
    *,
    setup: Setup,
    enforced: str | None = None,
) -> Explanation:
    """What becomes of the pods of ``workload`` in ``namespace``, whose bindings are these.

    ``enforced`` is the namespace's level of Pod Security, None where it is not known.
    """
    pod = workload.pod
    entries = {
        name: bindings.read(raw, trust_domain=setup.trust_domain, host_paths=setup.host_paths)
        for name, raw in raw_bindings.items()
    }
    decision = podsecurity.judged(selection.decide(pod, namespace, entries), enforced)
    operations: list[injection.Operation] = []
    egress: Egress | None = None
    chosen = decision.binding if isinstance(decision, Refuse) else None
    if isinstance(decision, Inject):
        operations = injection.inject(pod, decision, defaults=setup.sidecars)
        egress = setup.sidecars.egress_for(decision.binding)
        chosen = decision.binding.name
    return Explanation(
        workload=workload,
        namespace=namespace,
        decision=decision,
        why=_why(decision, workload),
        candidates=tuple(_candidate(name, entries[name], pod) for name in sorted(entries)),
        operations=tuple(operations),
        pod=patching.applied(pod, operations) if isinstance(decision, Inject) else None,
        egress=egress,
        unready=tuple(unready(raw_bindings.get(chosen or "", {}))),
        notes=(
            *_notes(workload, namespace, decision),
            *_doubts(decision, setup, enforced),
            *_waits(egress),
        ),
    )


def unready(raw: Json) -> Iterator[str]:
    """What the status of a binding says against it, a sentence each."""
    metadata, status = mapping(raw.get("metadata")), mapping(raw.get("status"))
    generation, observed = metadata.get("generation"), status.get("observedGeneration")
    if not status.get("conditions"):
        # Only what an API server has held could have been judged.
        if metadata.get("uid"):
            yield "it has no status: the controller has not seen it yet, or does not run"
        return
    if isinstance(generation, int) and isinstance(observed, int) and observed < generation:
        yield (
            f"its status speaks of generation {observed} and the spec is at {generation}: the"
            " controller has not caught up, or does not run"
        )
    for condition in map(mapping, items(status["conditions"])):
        if condition.get("status") != Truth.TRUE:
            yield (
                f"{condition.get('type')} is {condition.get('status')}"
                f" ({condition.get('reason')}): {condition.get('message')}"
            )


def _why(decision: Decision, workload: Workload) -> str:
    if isinstance(decision, Refuse):
        return decision.sentence
    where = f"{workload.at}metadata.annotations"
    return {
        Reason.BINDING_NAMED: f"annotation {BINDING_ANNOTATION} names it",
        Reason.BINDING_SELECTED: "it alone, of the namespace's bindings, is for this pod",
        Reason.NOT_ASKED: "nothing asks for credentials; to ask, put"
        f' {INJECT_ANNOTATION}: "true" or {BINDING_ANNOTATION}: NAME under {where}',
        Reason.OPTED_OUT: f'annotation {INJECT_ANNOTATION} is "false"; set it to "true", or name a'
        f" binding with {BINDING_ANNOTATION}, to ask for credentials",
    }[decision.reason]


def _candidate(name: str, entry: Entry, pod: Json) -> Candidate:
    if isinstance(entry, InvalidBinding):
        return Candidate(name, False, f"is not valid: {entry}")
    if mismatch := selection.mismatch(entry, pod):
        return Candidate(name, False, mismatch)
    if problem := bindings.not_allowed(entry):
        return Candidate(name, False, str(problem))
    return Candidate(name, True, "is for this pod")


def _notes(workload: Workload, namespace: str, decision: Decision) -> Iterator[str]:
    if namespace == UNSEEN_NAMESPACE:
        yield (
            f"the chart keeps the webhook away from namespace {UNSEEN_NAMESPACE}: whatever they"
            " ask for, its pods start without credentials; use another namespace"
        )
    misplaced = [name for name in _ASKING if name in workload.own_annotations]
    if workload.at and misplaced and not set(_ASKING) & pods.annotations(workload.pod).keys():
        yield (
            f"annotation {misplaced[0]} is on the {workload.kind} itself, where nobody looks; move"
            f" it to {workload.at}metadata.annotations"
        )
    if isinstance(decision, Inject):
        yield from _overruled(workload.pod, decision)


def _doubts(decision: Decision, setup: Setup, enforced: str | None) -> Iterator[str]:
    """What only the cluster knows of the folders that a pod would be given."""
    folders = bindings.folders(decision.binding) if isinstance(decision, Inject) else ()
    if folders and setup.host_paths is None:
        yield (
            f"whether the operator allows {' and '.join(folders)} of the node is not known here;"
            " say with --host-path what pkcs11.hostPaths of its chart has"
        )
    if folders and enforced is None:
        yield (
            "whether the namespace's Pod Security refuses hostPath volumes is not known here;"
            f" privileged does not, see its label {podsecurity.ENFORCE}"
        )


def _waits(egress: Egress | None) -> Iterator[str]:
    """What the sidecar's way out takes of the namespace, which nobody here has seen."""
    needed = [egress.proxy.secret, egress.ca_bundle.config_map] if egress else []
    for one in filter(None, needed):
        yield f"the pod waits for {one}; whether its namespace has that was not looked at"


def _overruled(pod: Json, decision: Inject) -> Iterator[str]:
    for container in pods.every_container(pod):
        names = {variable.get("name") for variable in pods.environment(container)}
        if container["name"] in decision.containers:
            for name in _FIRST_CHOICES:
                if name in names:
                    yield (
                        f"container {container['name']} sets {name}, which SDKs prefer to the"
                        " sidecar; remove it"
                    )
