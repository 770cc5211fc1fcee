"""How the demo shows what machines say to each other."""

from collections.abc import Iterable, Mapping
from textwrap import indent
from typing import Any

import yaml


def patch(operations: Iterable[Mapping[str, Any]]) -> str:
    """A JSON patch (RFC 6902), an operation a paragraph, its value as YAML."""
    return "\n".join(_operation(**operation) for operation in operations)


def _operation(op: str, path: str, value: object) -> str:
    return f"{op} {path}\n{indent(_yaml(value), '    ')}"


def _yaml(value: object) -> str:
    if isinstance(value, str):
        return value
    # None: what holds no other collection goes on one line.
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=100).rstrip()
