"""``trust-policy``: what IAM and Roles Anywhere must be told for a binding to work.

Never reaches AWS.
"""

import argparse
from collections.abc import Iterable
from typing import Any, Final

from rolesanywhere_operator.cli import answers, cluster, needs, printing, sources
from rolesanywhere_operator.cli.answers import Answer, UnusableInput
from rolesanywhere_operator.cli.sources import Surroundings
from rolesanywhere_operator.domain import trust
from rolesanywhere_operator.domain.bindings import InvalidBinding

Json = dict[str, Any]

PURPOSE: Final = "print the IAM role trust policy that fits a binding, and the profile it needs"
EPILOG: Final = """\
The policy goes to standard output, what the profile needs to standard error:

  rolesanywhere-operator trust-policy reports -n team-a > trust.json
  aws iam update-assume-role-policy --role-name reports \\
      --policy-document file://trust.json

Exit codes: 0 here is the policy, 1 there is no such binding or it makes no
sense, 2 there is no answer (usage, a file that cannot be read, a cluster that
cannot be asked)."""

_DEFAULT_NAMESPACE: Final = "default"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``trust-policy``."""
    parser.add_argument(
        "binding", nargs="?", metavar="BINDING", help="name of the binding; with -f, one of several"
    )
    sources.add_arguments(parser, files="file with the binding, instead of a cluster")
    parser.add_argument(
        "-o",
        "--output",
        choices=("json", "text"),
        default="json",
        help="json: the policy alone; text: all of it, for people",
    )


def answer(arguments: argparse.Namespace, around: Surroundings) -> Answer:
    """The policy for one binding. Raises `UnusableInput` or `KubeError`."""
    if not arguments.binding and not arguments.filename:
        raise UnusableInput("no binding; name one that the cluster has, or a file with -f FILE")
    raw = _from_files(arguments, around) if arguments.filename else _asked(arguments, around)
    if isinstance(raw, Answer):
        return raw
    metadata = raw["metadata"]
    trust_domain = sources.trust_domain(arguments, around)
    try:
        found = trust.of(raw, trust_domain=trust_domain)
    except InvalidBinding as wrong:
        name = f"{metadata.get('namespace')}/{metadata['name']}"
        mistakes = "".join(f"  {mistake}\n" for mistake in wrong.mistakes)
        return Answer(answers.NO, "", f"binding {name} makes no sense:\n{mistakes}")
    if arguments.output == "text":
        return Answer(answers.YES, needs.all_of(found))
    return Answer(answers.YES, printing.as_json(found.policy), needs.besides_the_policy(found))


def _from_files(arguments: argparse.Namespace, around: Surroundings) -> Json | Answer:
    objects = sources.manifests(arguments.filename, around)
    fallback = arguments.namespace or _DEFAULT_NAMESPACE
    there = {
        f"{namespace}/{name}": raw
        for namespace, by_name in sources.bindings(objects, fallback).items()
        for name, raw in by_name.items()
        if arguments.namespace in (None, namespace)
    }
    fit = [one for one in there if arguments.binding in (None, one.partition("/")[2])]
    if len(fit) > 1:
        raise UnusableInput(f"several bindings fit: {', '.join(fit)}; choose one by BINDING and -n")
    if not fit and arguments.binding is None:
        raise UnusableInput("the files hold no RolesAnywhereBinding")
    return there[fit[0]] if fit else _absent("the files have", arguments, there)


def _asked(arguments: argparse.Namespace, around: Surroundings) -> Json | Answer:
    kubeconfig = sources.kubeconfig(arguments, around)
    namespace = arguments.namespace or cluster.namespace(kubeconfig)
    by_name = cluster.bindings_of([namespace], kubeconfig)[namespace]
    if arguments.binding in by_name:
        return by_name[arguments.binding]
    return _absent(f"namespace {namespace} has", arguments, by_name)


def _absent(where: str, arguments: argparse.Namespace, there: Iterable[str]) -> Answer:
    others = ", ".join(sorted(there)) or "none"
    return Answer(answers.NO, "", f"{where} no binding {arguments.binding!r}; there: {others}\n")
