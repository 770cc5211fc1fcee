"""A webhook under load: a real process, a real API server behind it, reviews of 10 KB over TLS.

What is measured runs on one core and the load on the other; the API server has nothing to do, and
runs beside the load. Its bytecode is compiled before, as it is in the image.
"""

import asyncio
import compileall
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.measures import Load, MeasureFailed, load_generator
from tests.bench.processes import Cores, Memory, cpu_seconds, finished, memory, on_core
from tests.cluster import programs
from tests.cluster.control_plane import ControlPlane
from tests.cluster.programs import Program
from tests.operator.builders import IMAGE, a_container, a_pod, a_raw_binding, a_review
from tests.operator.certificates import a_pair
from tests.support.waiting import eventually

ROOT: Final = Path(__file__).parents[2]
REVIEW_BYTES: Final = 10 * 1024
NAMESPACE: Final = "default"

_WARM_UP_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class UnderLoad:
    """The webhook over 1 and over 16 connections, and what it holds before and after."""

    before: Memory
    alone: Load
    together: Load
    after: Memory


def a_review_of_ten_kilobytes() -> bytes:
    """A pod as Deployments make them: three containers, twenty variables in each, much metadata."""
    variables = [{"name": f"SETTING_{i}", "value": "value of a setting"} for i in range(20)]
    containers = [
        a_container(
            name,
            env=variables,
            resources={"limits": {"memory": "1Gi"}, "requests": {"cpu": "100m"}},
            volumeMounts=[{"name": "data", "mountPath": "/data"}],
        )
        for name in ("app", "worker", "proxy")
    ]
    pod = a_pod(*containers, volumes=[{"name": "data", "emptyDir": {}}])
    review = a_review(pod, NAMESPACE, uid="0f3c2b1a-0000-4000-8000-000000000001")
    pod["metadata"]["annotations"]["example.com/notes"] = ""
    missing = REVIEW_BYTES - len(json.dumps(review))
    pod["metadata"]["annotations"]["example.com/notes"] = "x" * missing
    return json.dumps(review).encode()


async def under_load(control_plane: ControlPlane, cores: Cores, *, seconds: float) -> UnderLoad:
    """One webhook with one binding, which every review asks for. Raises `MeasureFailed`."""
    binding = a_raw_binding("reports", NAMESPACE)
    del binding["metadata"]["generation"]
    control_plane.apply(json.dumps(binding))
    for package in ("operator", "sidecar"):
        compileall.compile_dir(ROOT / package, quiet=2)
    folder = control_plane.folder / "webhook"
    folder.mkdir()
    (folder / "review.json").write_bytes(a_review_of_ten_kilobytes())
    with _webhook(control_plane, folder, core=cores.measured) as webhook:
        before = memory(webhook.popen.pid)
        alone, together = [
            await _load(webhook, folder, core=cores.measuring, connections=count, seconds=seconds)
            for count in (1, 16)
        ]
        return UnderLoad(before, alone, together, memory(webhook.popen.pid))


@contextmanager
def _webhook(control_plane: ControlPlane, folder: Path, *, core: int) -> Iterator[Program]:
    pair = a_pair("webhook")
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.private_key)
    settings: dict[str, Any] = {
        "port": 0,
        "sidecar_image": IMAGE,
        "certificate": folder / "tls.crt",
        "private_key": folder / "tls.key",
    }
    # What is started inherits the core of the thread that starts it.
    with on_core(core):
        running = programs.running(
            "webhook",
            kubeconfig=control_plane.admin_kubeconfig,
            log=folder / "log",
            settings=settings,
        )
        webhook = running.__enter__()
    try:
        eventually("the webhook is ready", lambda: webhook.is_ready)
        yield webhook
    finally:
        running.__exit__(None, None, None)


async def _load(
    webhook: Program, folder: Path, *, core: int, connections: int, seconds: float
) -> Load:
    command: list[str | Path] = [
        await asyncio.to_thread(load_generator),
        "-address", f"127.0.0.1:{webhook.port('reviews')}", "-path", "/inject",
        "-ca", folder / "tls.crt", "-body", folder / "review.json",
        "-header", "Content-Type: application/json", "-expect", "JSONPatch",
        "-connections", str(connections), "-duration", f"{seconds}s",
        "-warm-up", f"{min(_WARM_UP_SECONDS, seconds)}s",
    ]  # fmt: skip
    before = cpu_seconds(webhook.popen.pid)
    outcome = await finished(command, {"GOMAXPROCS": "1"}, core=core)
    spent = cpu_seconds(webhook.popen.pid) - before
    if outcome.status != 0:
        raise MeasureFailed(f"load ended with status {outcome.status}: {outcome.errors.strip()}")
    report = outcome.document()
    if report["failures"] or not report["requests"]:
        raise MeasureFailed(f"the webhook failed: {report.get('failure', 'nothing was answered')}")
    return Load(
        per_second=report["requests"] / report["seconds"],
        p50=report["p50_us"] / 1000,
        p99=report["p99_us"] / 1000,
        cpu=1000 * spent / report["asked"],
    )
