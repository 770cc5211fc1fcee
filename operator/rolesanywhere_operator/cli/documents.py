"""Manifests in YAML or JSON, as objects: any number to a file, Lists unfolded.

Never opens a file, and never asks what an object means.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from rolesanywhere_operator.cli.answers import UnusableInput
from rolesanywhere_operator.domain.untyped import items

Json = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes' clients read it: what looks like a date is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, shape) for tag, shape in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: str, source: str) -> list[Json]:
    """The objects in ``text``; ``source`` is how errors call it. Raises `UnusableInput`."""
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as wrong:
        where = getattr(wrong, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(wrong, "problem", None) or getattr(wrong, "reason", None)
        raise UnusableInput(f"{source}{line}: not YAML: {problem or 'it cannot be read'}") from None
    # Deep nesting is garbage as well.
    except RecursionError:
        raise UnusableInput(f"{source}: not a manifest: it is nested too deeply") from None
    found: list[Json] = []
    for number, document in enumerate(documents, start=1):
        if document is None:
            continue
        if not isinstance(document, Mapping) or not isinstance(document.get("kind"), str):
            raise UnusableInput(
                f"{source}: document {number} is not a manifest, expected an object with a kind"
            )
        found += _unfolded(dict(document))
    return found


def _unfolded(document: Json) -> Iterator[Json]:
    if not document["kind"].endswith("List") or "items" not in document:
        yield document
        return
    for item in items(document["items"]):
        if isinstance(item, Mapping) and isinstance(item.get("kind"), str):
            yield dict(item)
