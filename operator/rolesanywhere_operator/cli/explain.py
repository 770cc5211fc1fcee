"""``explain``: what would admission do to this pod, and why.

Never reaches a cluster when bindings are given with ``-f``.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rolesanywhere_operator.cli import answers, cluster, printing, sidecars, sources, told
from rolesanywhere_operator.cli.answers import Answer, UnusableInput
from rolesanywhere_operator.cli.sources import Surroundings
from rolesanywhere_operator.domain import explanation, workloads
from rolesanywhere_operator.domain.explanation import Explanation, Setup
from rolesanywhere_operator.domain.untyped import mapping
from rolesanywhere_operator.domain.workloads import MisshapenManifest, Workload

Json = dict[str, Any]

PURPOSE: Final = "say what would become of a pod, by which binding, and why"
EPILOG: Final = """\
Bindings among the files are all there is; without any, the cluster is asked for
those of the pod's namespace. FILE may be -, or a folder, and hold several
documents; what makes no pods is passed over.

Exit codes: 0 every pod would be injected, 1 one would not be (it is refused, or
does not ask), 2 there is no answer (usage, a file that cannot be read, a
cluster that cannot be asked)."""

_DEFAULT_NAMESPACE: Final = "default"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``explain``."""
    sources.add_arguments(parser, files="pods, workloads and bindings; may be repeated")
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "yaml", "patch"),
        default="text",
        help="text; the explanation with the injected pod as json or yaml; or the JSON patch",
    )
    sidecars.add_arguments(parser)
    parser.add_argument(
        "--host-path",
        action="append",
        default=[],
        metavar="FOLDER",
        help="folder of nodes that the operator allows; may be repeated (default:"
        f" ${sources.HOST_PATHS_VARIABLE}, else they are not looked at)",
    )


def answer(arguments: argparse.Namespace, around: Surroundings) -> Answer:
    """What becomes of every pod in the files. Raises `UnusableInput` or `KubeError`."""
    if not arguments.filename:
        raise UnusableInput("nothing to explain; name a manifest with -f FILE, or -f - for stdin")
    objects = sources.manifests(arguments.filename, around)
    found = _workloads(objects)
    offline = any(map(sources.is_binding, objects))
    kubeconfig = None if offline else sources.kubeconfig(arguments, around)
    fallback = arguments.namespace or (
        _DEFAULT_NAMESPACE
        if offline or all(one.namespace for one in found)
        else cluster.namespace(kubeconfig)
    )
    setup = Setup(
        sidecars=sidecars.defaults(arguments, around),
        trust_domain=sources.trust_domain(arguments, around),
        host_paths=sources.host_paths(arguments, around),
    )
    places = [_namespace(one, arguments.namespace, fallback) for one in found]
    bindings = (
        sources.bindings(objects, fallback) if offline else cluster.bindings_of(places, kubeconfig)
    )
    levels = (
        sources.levels(objects)
        if offline
        else cluster.levels_of(_with_tokens(bindings), kubeconfig)
    )
    explanations = [
        explanation.explain(
            one,
            place,
            bindings.get(place, {}),
            setup=setup,
            enforced=levels.get(place),
        )
        for one, place in zip(found, places, strict=True)
    ]
    code = answers.YES if all(one.is_yes for one in explanations) else answers.NO
    return Answer(code, _written(explanations, arguments.output), _remarks(explanations, arguments))


def _with_tokens(bindings: Mapping[str, Mapping[str, Json]]) -> list[str]:
    """The namespaces in which a binding may need folders of a node."""
    return [
        namespace
        for namespace, by_name in bindings.items()
        if any("pkcs11" in mapping(mapping(raw.get("spec")).get("identity"))
               for raw in by_name.values())
    ]  # fmt: skip


def _workloads(objects: Sequence[Json]) -> list[Workload]:
    try:
        found = [one for one in map(workloads.read, objects) if one is not None]
    except MisshapenManifest as wrong:
        raise UnusableInput(f"{wrong}; no API server would take it") from wrong
    if not found:
        there = ", ".join(sorted({one["kind"] for one in objects})) or "nothing"
        raise UnusableInput(
            f"no manifest makes pods, there is {there}; expected one of"
            f" {', '.join(workloads.KINDS)}"
        )
    return found


def _namespace(workload: Workload, demanded: str | None, fallback: str) -> str:
    if demanded and workload.namespace and workload.namespace != demanded:
        raise UnusableInput(
            f"{workload} is not in namespace {demanded}, which -n demands; leave one of them out"
        )
    return workload.namespace or fallback


def _written(explanations: Sequence[Explanation], form: str) -> str:
    match form:
        case "json":
            return "".join(printing.as_json(told.as_data(e)) for e in explanations)
        case "yaml":
            return printing.as_yaml([told.as_data(e) for e in explanations])
        case "patch":
            return "".join(printing.as_json(list(e.operations)) for e in explanations if e.is_yes)
        case _:
            return "\n".join(map(told.as_text, explanations))


def _remarks(explanations: Sequence[Explanation], arguments: argparse.Namespace) -> str:
    """Why a patch is missing, where patches are all that is written."""
    if arguments.output != "patch":
        return ""
    return "\n".join(told.as_text(one) for one in explanations if not one.is_yes)
