"""The chart's dashboard as data: its panels, and their queries without Grafana's variables."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.chart.helm import CHART

FILE: Final = CHART / "files" / "dashboard.json"


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and what its series are called: text with ``{{label}}`` in it."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; a ``row`` has no queries. Lengths are cells of Grafana's grid, 24 to a row."""

    kind: str
    title: str
    unit: str
    queries: Sequence[Query]
    left: int
    top: int
    width: int
    height: int


def panels(*, rate_interval: str = "5m") -> Sequence[Panel]:
    """All of them, of all namespaces."""
    return [_panel(raw, rate_interval) for raw in json.loads(FILE.read_text())["panels"]]


def _panel(raw: dict[str, Any], rate_interval: str) -> Panel:
    queries = [
        Query(_plain(target["expr"], rate_interval), target["legendFormat"])
        for target in raw.get("targets", ())
    ]
    at = raw["gridPos"]
    unit = raw.get("fieldConfig", {}).get("defaults", {}).get("unit", "none")
    return Panel(raw["type"], raw["title"], unit, queries, at["x"], at["y"], at["w"], at["h"])


def _plain(expression: str, rate_interval: str) -> str:
    return expression.replace("$__rate_interval", rate_interval).replace("$namespace", ".*")
