"""Where manifests and bindings come from: files, standard input, or a cluster.

Never decides what they lead to.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rolesanywhere_contract.names import API_VERSION, GROUP, KIND
from rolesanywhere_operator.cli import cluster, documents
from rolesanywhere_operator.cli.answers import UnusableInput
from rolesanywhere_operator.domain import certnames, nodepaths, podsecurity
from rolesanywhere_operator.domain.certnames import DEFAULT_TRUST_DOMAIN
from rolesanywhere_operator.domain.untyped import mapping
from rolesanywhere_operator.settings import PREFIX

Json = dict[str, Any]

STDIN: Final = "-"
_TRUST_DOMAIN_VARIABLE: Final = f"{PREFIX}TRUST_DOMAIN"
HOST_PATHS_VARIABLE: Final = f"{PREFIX}HOST_PATHS"
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command finds around it, given from outside."""

    env: Mapping[str, str]
    home: Path
    stdin: Callable[[], str]


def add_arguments(parser: argparse.ArgumentParser, *, files: str) -> None:
    """The flags that choose a source; ``files`` is what ``-f`` is for."""
    parser.add_argument("-f", "--filename", action="append", default=[], metavar="FILE", help=files)
    parser.add_argument(
        "-n",
        "--namespace",
        help="namespace of what names none (default: the context's, or default)",
    )
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        help="kubeconfig file (default: $KUBECONFIG, the pod's own cluster, ~/.kube/config)",
    )
    parser.add_argument(
        "--trust-domain",
        metavar="DOMAIN",
        help="trust domain that the operator was set up with (default:"
        f" ${_TRUST_DOMAIN_VARIABLE}, {DEFAULT_TRUST_DOMAIN})",
    )


def manifests(names: Sequence[str], around: Surroundings) -> list[Json]:
    """Every object in the files, or folders of files, called ``names``; ``-`` is standard input.

    Raises `UnusableInput`.
    """
    if names.count(STDIN) > 1:
        raise UnusableInput("-f -: standard input can be read once, got it twice")
    return [found for name in names for found in _of(name, around)]


def bindings(objects: Sequence[Json], namespace: str) -> dict[str, dict[str, Json]]:
    """The bindings among ``objects`` by namespace and name; ``namespace`` is for those without.

    Raises `UnusableInput`.
    """
    found: dict[str, dict[str, Json]] = {}
    for raw in filter(is_binding, objects):
        metadata = mapping(raw.get("metadata"))
        name, where = metadata.get("name"), metadata.get("namespace") or namespace
        if not isinstance(name, str) or not name or not isinstance(where, str):
            raise UnusableInput(f"a {KIND} has no metadata.name, or its namespace is no text")
        if raw.get("apiVersion") != API_VERSION:
            raise UnusableInput(
                f"{KIND} {name} has apiVersion {raw.get('apiVersion')!r}, expected {API_VERSION}"
            )
        if name in found.setdefault(where, {}):
            raise UnusableInput(f"{KIND} {where}/{name} is given twice; leave one of them out")
        found[where][name] = {**raw, "metadata": {**metadata, "namespace": where}}
    return found


def is_binding(raw: Json) -> bool:
    """Whether ``raw`` says that it is a binding, of whatever version."""
    return raw["kind"] == KIND and str(raw.get("apiVersion")).startswith(f"{GROUP}/")


def kubeconfig(arguments: argparse.Namespace, around: Surroundings) -> Path | None:
    """The kubeconfig that the flags and the surroundings name."""
    return cluster.kubeconfig(arguments.kubeconfig, around.env, around.home)


def trust_domain(arguments: argparse.Namespace, around: Surroundings) -> str:
    """The trust domain that the flags and the surroundings name. Raises `UnusableInput`."""
    named = arguments.trust_domain or around.env.get(_TRUST_DOMAIN_VARIABLE)
    try:
        return certnames.trust_domain(named or DEFAULT_TRUST_DOMAIN)
    except ValueError as wrong:
        raise UnusableInput(f"--trust-domain: {wrong}") from wrong


def host_paths(arguments: argparse.Namespace, around: Surroundings) -> frozenset[str] | None:
    """The folders of nodes that the operator allows, None where nobody says.

    Raises `UnusableInput`.
    """
    named = around.env.get(HOST_PATHS_VARIABLE)
    given = arguments.host_path or (named.split(",") if named else [])
    try:
        return frozenset(nodepaths.checked(path.strip()) for path in given) or None
    except ValueError as wrong:
        raise UnusableInput(f"--host-path: {wrong}") from wrong


def levels(objects: Sequence[Json]) -> dict[str, str | None]:
    """What the Namespaces among ``objects`` enforce of Pod Security, by name."""
    return {
        str(mapping(raw.get("metadata")).get("name")): podsecurity.level(raw)
        for raw in objects
        if raw["kind"] == "Namespace"
    }


def surroundings(env: Mapping[str, str]) -> Surroundings:
    """Those of this process."""
    return Surroundings(env, Path(env.get("HOME") or "/"), sys.stdin.read)


def _of(name: str, around: Surroundings) -> list[Json]:
    if name == STDIN:
        return documents.parse(around.stdin(), "standard input")
    path = Path(name)
    try:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        files = [one for one in inside if one == path or one.suffix in _SUFFIXES]
        return [one for file in files for one in documents.parse(file.read_text(), str(file))]
    except OSError as wrong:
        raise UnusableInput(f"{name} cannot be read: {wrong.strerror}") from wrong
    except UnicodeDecodeError as wrong:
        raise UnusableInput(f"{name} is not a text: {wrong.reason}") from wrong
