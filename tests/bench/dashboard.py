"""A picture of the chart's dashboard: its own queries, over all programs at work, drawn by us.

    python -m tests.bench.dashboard docs/dashboard.svg

The numbers are real for as long as it took; the shapes are not Grafana's, which is not here.
"""

import asyncio
import math
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from tests.chart.helm import RELEASE
from tests.cluster import dashboard
from tests.cluster.afternoon import afternoon
from tests.cluster.binaries import find_or_build, find_or_build_helm
from tests.cluster.control_plane import ControlPlane
from tests.cluster.dashboard import Panel, Query
from tests.cluster.release import CRD
from tests.cluster.selfserving import self_serving
from tests.hardware import packages, softhsm
from tests.hardware.tokens import workshop
from tests.support import debian, prometheus
from tests.support.prometheus import Scrape, Series

SECONDS: Final = 120.0
USERS: Final = "team-a"

CELL_WIDTH: Final = 44
CELL_HEIGHT: Final = 24
GAP: Final = 6
LARGEST_LEGEND: Final = 5
LETTER_WIDTH: Final = 6.2
COLOURS: Final = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2")

Named = tuple[str, Sequence[tuple[float, float]]]


def observed() -> Sequence[Scrape]:
    """All programs at work, on a control plane of their own."""
    debian.packages(*packages.HSM)
    with (
        workshop() as shop,
        tempfile.TemporaryDirectory() as temporary,
        ControlPlane.start(find_or_build(), controllers=True) as started,
    ):
        started.apply(CRD.read_text())
        started.kubectl("wait", "--for=condition=Established", f"--filename={CRD}")
        for namespace in (RELEASE, USERS):
            started.kubectl("create", "namespace", namespace)
            started.kubectl(
                "wait", "--for=create", "serviceaccount/default", f"--namespace={namespace}"
            )
        folder = Path(temporary)
        helm = find_or_build_helm()
        with self_serving(started, helm, namespace=RELEASE, folder=folder) as release:
            token = softhsm.make(shop / "hsm")
            return asyncio.run(afternoon(release, USERS, token, folder, seconds=SECONDS))


def picture(scrapes: Sequence[Scrape]) -> str:
    """The dashboard as SVG."""
    panels = dashboard.panels(rate_interval="15s")
    queries = [query for panel in panels for query in panel.queries]
    texts = [query.expression for query in queries]
    found = iter(prometheus.answers(scrapes, texts, step=2.0))
    begin, end = min(one.at for one in scrapes), max(one.at for one in scrapes)
    drawn = [
        line
        for panel in panels
        for line in drawn_panel(
            panel,
            [named for query in panel.queries for named in called(query, next(found))],
            (begin, end),
        )
    ]
    height = max(panel.top + panel.height for panel in panels) * CELL_HEIGHT + GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * CELL_WIDTH} {height}"'
            ' font-family="sans-serif" font-size="11">',
            '<rect width="100%" height="100%" fill="#f4f5f5"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def called(query: Query, found: Sequence[Series]) -> Iterator[Named]:
    """The series by the names that the legend gives them."""
    for series in found:
        labels = series.labels

        def label(match: re.Match[str], labels: prometheus.Labels = labels) -> str:
            return labels.get(match[1], "")

        # Without requests there is no quantile of them.
        points = [(at, value) for at, value in series.points if math.isfinite(value)]
        if points:
            yield re.sub(r"\{\{(\w+)\}\}", label, query.legend).strip(), points


def drawn_panel(panel: Panel, series: Sequence[Named], span: tuple[float, float]) -> Iterator[str]:
    """One panel, or the heading of a row."""
    left, top = panel.left * CELL_WIDTH + GAP, panel.top * CELL_HEIGHT + GAP
    width, height = panel.width * CELL_WIDTH - GAP, panel.height * CELL_HEIGHT - GAP
    yield f'<g transform="translate({left},{top})">'
    if panel.kind == "row":
        yield text(0, 14, panel.title, 'font-size="14" font-weight="bold"')
    else:
        yield f'<rect width="{width}" height="{height}" rx="3" fill="white" stroke="#ddd"/>'
        yield text(8, 16, panel.title, 'font-weight="bold"')
        draw = drawn_number if panel.kind == "stat" else drawn_lines
        yield from draw(panel, series, span, width, height)
    yield "</g>"


def drawn_number(
    panel: Panel, series: Sequence[Named], span: tuple[float, float], width: int, height: int
) -> Iterator[str]:
    """The last value, large."""
    last = series[0][1][-1][1] if series else float("nan")
    style = 'font-size="36" text-anchor="middle" fill="#2ca02c"'
    yield text(width / 2, height / 2 + 16, spoken(last, panel.unit), style)


def drawn_lines(
    panel: Panel, series: Sequence[Named], span: tuple[float, float], width: int, height: int
) -> Iterator[str]:
    """A line for each series over the whole time, from zero, and the names of the highest."""
    ranked = sorted(series, key=lambda one: -max(value for _, value in one[1]))
    top = max((value for _, points in ranked for _, value in points), default=0.0) or 1.0
    left, right, above, below = 52, 8, 28, 12 + 14 * -(-min(len(ranked), LARGEST_LEGEND + 1) // 2)
    across, up = width - left - right, height - above - below
    for share in (0.0, 0.5, 1.0):
        y = above + up * (1 - share)
        yield f'<path d="M{left} {y:.1f}h{across}" stroke="#e5e5e5"/>'
        yield text(
            left - 6, y + 4, spoken(top * share, panel.unit), 'text-anchor="end" fill="#777"'
        )
    for number, (_, points) in enumerate(ranked):
        places = " ".join(
            f"{left + across * (at - span[0]) / (span[1] - span[0]):.0f},"
            f"{above + up * (1 - value / top):.1f}"
            for at, value in points
        )
        colour = COLOURS[number % len(COLOURS)]
        yield f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    named = [name for name, _ in ranked[:LARGEST_LEGEND]]
    rest = len(ranked) - len(named)
    for number, name in enumerate([*named, *([f"and {rest} more"] if rest else [])]):
        x = left + (number % 2) * across / 2
        y = height - below + 20 + 14 * (number // 2)
        colour = COLOURS[number] if number < len(named) else "#777"
        fits = int(across / 2 / LETTER_WIDTH)
        short = name if len(name) <= fits else f"{name[: fits - 1]}…"
        yield text(x, y, short, f'fill="{colour}" font-size="10"')


def spoken(value: float, unit: str) -> str:
    """A value with its unit, as short as it goes."""
    if unit == "s":
        for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s")):
            if value >= 2 * size or (name == "s" and value >= 1):
                return f"{value / size:.3g} {name}"
        return f"{value * 1000:.3g} ms" if value else "0"
    rate = "/s" if unit in {"ops", "reqps"} else ""
    return f"{value:.3g}{rate}"


def text(x: float, y: float, words: str, style: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {style}>{escape(words)}</text>'


def main(arguments: Sequence[str]) -> int:
    """Watch, draw, write."""
    [page] = arguments
    Path(page).write_text(picture(observed()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
