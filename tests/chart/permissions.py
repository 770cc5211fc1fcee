"""The permissions of both programs: as the chart grants them, as ``docs/chart.md`` explains them.

One of them is one verb on one resource, perhaps of one name. Never asks a cluster.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from tests.chart import table
from tests.chart.helm import FULLNAME, Manifest

# A release's own name, wherever the documentation or a test needs none in particular.
NAME: Final = "<release>"


@dataclass(frozen=True, order=True, slots=True)
class Permission:
    """``name`` is empty for any; those with one are for the release's namespace, or have none."""

    component: str
    verb: str
    resource: str
    name: str


def granted(manifests: Sequence[Manifest], *, namespace: str) -> list[Permission]:
    """What the roles among ``manifests`` grant, each as often as it is granted."""
    return [
        permission
        for manifest in manifests
        if manifest["kind"] in ("Role", "ClusterRole")
        for rule in manifest["rules"]
        for permission in _of_rule(manifest, rule, namespace)
    ]


def _of_rule(role: Manifest, rule: Manifest, namespace: str) -> Iterator[Permission]:
    component = role["metadata"]["labels"]["app.kubernetes.io/component"]
    names = rule.get("resourceNames", [""])
    for group, resource, name, verb in product(
        rule["apiGroups"], rule["resources"], names, rule["verbs"]
    ):
        plural, slash, sub = resource.partition("/")
        yield Permission(
            component, verb, f"{plural}.{group}".rstrip(".") + slash + sub,
            anonymous(name, namespace),
        )  # fmt: skip


def anonymous(name: str, namespace: str) -> str:
    """``name`` with nothing in it of which release this is."""
    return name.replace(f"{namespace}-{FULLNAME}", NAME).replace(FULLNAME, NAME)


def documented() -> dict[Permission, str]:
    """What the documentation lists, with the reason it gives."""
    lines = table.PAGE.read_text().splitlines()
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith(("| webhook |", "| controller |"))
    ]
    return {
        Permission(component, verb, resource, name): reason
        for component, verbs, resource, name, reason in rows
        for verb in re.findall(r"\w+", verbs)
    }
