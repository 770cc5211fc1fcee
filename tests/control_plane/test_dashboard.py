"""Every panel of the dashboard shows something of programs at work, by Prometheus' own engine."""

import asyncio
import math
from pathlib import Path

import pytest

from tests.cluster import dashboard
from tests.cluster.afternoon import LIFE_SECONDS, afternoon
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import PATIENCE
from tests.cluster.selfserving import self_serving
from tests.hardware import packages, softhsm
from tests.hardware.tokens import workshop
from tests.support import debian, prometheus
from tests.support.tools import build_or_skip

# Two renewals of each sidecar, one of which is throttled at first.
SECONDS = 2 * LIFE_SECONDS


@pytest.mark.long
def test_no_panel_is_empty(
    schema: ControlPlane, helm: Path, namespace: str, tmp_path: Path
) -> None:
    build_or_skip(lambda: debian.packages(*packages.HSM))
    build_or_skip(prometheus.evaluator)
    users = f"{namespace}-users"
    schema.kubectl("create", "namespace", users)
    schema.kubectl(
        "wait", "--for=create", "serviceaccount/default", f"--namespace={users}", PATIENCE
    )
    with (
        workshop() as shop,
        self_serving(schema, helm, namespace=namespace, folder=tmp_path) as release,
    ):
        token = softhsm.make(shop / "hsm")
        scrapes = asyncio.run(afternoon(release, users, token, tmp_path, seconds=SECONDS))
    schema.kubectl("delete", "namespace", users, "--wait=false")
    queries = [
        (panel.title, query.expression)
        for panel in dashboard.panels(rate_interval="10s")
        for query in panel.queries
    ]
    found = prometheus.answers(scrapes, [expression for _, expression in queries])
    empty = [
        title
        for (title, _), all_of_it in zip(queries, found, strict=True)
        if not any(math.isfinite(value) for one in all_of_it for _, value in one.points)
    ]
    assert empty == []
