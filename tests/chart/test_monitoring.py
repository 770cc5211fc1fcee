"""Alerts and dashboard: Prometheus' own tool reads them, and they use what we measure alone."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.chart.helm import CHART
from tests.support import prometheus
from tests.support.tools import build_or_skip

FILES: Final = CHART / "files"
PLAYED: Final = Path(__file__).parent / "alerts" / "firing.yaml"
REFERENCE: Final = (CHART.parents[1] / "docs" / "reference.md").read_text()

# A row of a table of metrics, which tests/test_reference.py holds to the code.
_ROW: Final = re.compile(
    r"^\| `(?P<name>rolesanywhere_\w+)` \|(?: \w+ \|)? (?P<kind>counter|gauge|histogram) \|"
    r" (?P<labels>[^|]*) \|",
    re.MULTILINE,
)
_USED: Final = re.compile(r"(?P<name>(?:rolesanywhere|apiserver)_\w+)(?:\{(?P<matchers>[^}]*)\})?")
_GROUPED: Final = re.compile(r"by \((?P<labels>[^)]*)\)")
# What an API server measures of us (k8s.io/apiserver, pkg/admission/metrics).
_THEIRS: Final = {"apiserver_admission_webhook_fail_open_count": {"name", "type"}}
# What a scrape adds, and a histogram has.
_FROM_OUTSIDE: Final = {"namespace", "pod", "le"}


def documented() -> dict[str, set[str]]:
    """The labels of every series there is, by its name."""
    series: dict[str, set[str]] = dict(_THEIRS)
    for row in _ROW.finditer(REFERENCE):
        labels = set(re.findall(r"`(\w+)`", row["labels"]))
        suffixes = ("_bucket", "_sum", "_count") if row["kind"] == "histogram" else ("",)
        series |= {f"{row['name']}{suffix}": labels for suffix in suffixes}
    return series


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FILES / "dashboard.json").read_text())["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Every query of alerts and dashboard, and where it is."""
    for alert in alerts():
        yield alert["alert"], alert["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("where", "expression"), [*expressions()])
def test_a_query_uses_what_is_measured_and_its_labels(where: str, expression: str) -> None:
    series = documented()
    used = list(_USED.finditer(expression))
    assert used, where
    known = set(_FROM_OUTSIDE)
    for metric in used:
        assert metric["name"] in series, f"{where}: nothing measures {metric['name']}"
        labels = series[metric["name"]] | _FROM_OUTSIDE
        matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", metric["matchers"] or ""))
        assert matched <= labels, where
        known |= labels
    for grouped in _GROUPED.finditer(expression):
        assert {label.strip() for label in grouped["labels"].split(",")} <= known, where


def test_whatever_is_measured_is_shown_somewhere() -> None:
    shown = {metric["name"] for _, text in expressions() for metric in _USED.finditer(text)}
    forms = ("", "_bucket", "_sum", "_count")
    hidden = [
        row["name"]
        for row in _ROW.finditer(REFERENCE)
        if not {f"{row['name']}{form}" for form in forms} & shown
    ]
    # The other program's release is on the same nodes as the sidecars' own: one panel is enough.
    assert hidden == ["rolesanywhere_operator_build_info"]


def test_every_alert_says_how_bad_it_is_what_it_is_and_what_to_do() -> None:
    for alert in alerts():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert set(alert["annotations"]) == {"summary", "description"}, alert["alert"]
        assert alert["alert"].startswith("RolesAnywhere")


def test_every_alert_is_played_through_until_it_fires() -> None:
    played = {
        one["alertname"]
        for test in yaml.safe_load(PLAYED.read_text())["tests"]
        for one in test["alert_rule_test"]
        if one["exp_alerts"]
    }
    assert played == {alert["alert"] for alert in alerts()}


def promtool(*arguments: str, folder: Path) -> None:
    """Have Prometheus' tool check something; what it complains of fails the test."""
    binary = build_or_skip(prometheus.promtool)
    done = subprocess.run(
        [binary, *arguments], cwd=folder, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_bytes((FILES / "alerts.yaml").read_bytes())
    (tmp_path / "firing.yaml").write_bytes(PLAYED.read_bytes())
    promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml", folder=tmp_path)
    promtool("test", "rules", "firing.yaml", folder=tmp_path)


def test_prometheus_can_read_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": target["expr"].replace("$__rate_interval", "5m")}
        for number, target in enumerate(
            target for panel in panels() for target in panel.get("targets", ())
        )
    ]
    text = yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})
    (tmp_path / "dashboard.yaml").write_text(text)
    promtool("check", "rules", "dashboard.yaml", folder=tmp_path)


def test_the_dashboards_panels_lie_side_by_side_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert panel["datasource"]["uid"] == "${datasource}"
    numbers = [panel["id"] for panel in panels()]
    assert len(set(numbers)) == len(numbers)
