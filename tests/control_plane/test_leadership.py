"""Who leads, when processes are killed, told to stop, frozen, or cut off from the API server."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import kopf
import pytest

from rolesanywhere_operator.controller import routes
from rolesanywhere_operator.controller.login import log_in
from rolesanywhere_operator.controller.pulse import Pulse
from rolesanywhere_operator.kube.lease import Terms
from tests.cluster.controllers import LEASE, SHORT_LEASE_SECONDS, Cluster
from tests.cluster.programs import Program, running
from tests.support.waiting import PATIENCE_SECONDS, eventually

# Between the end of a holder and the end of its Lease are three tenths of it: time enough for a
# busy machine to end a process, and to tell us.
TERMS = Terms.lasting(SHORT_LEASE_SECONDS)


def by_default(cluster: Cluster, name: str) -> Program:
    """A controller with the terms that the chart gives it."""
    settings = {"namespace": cluster.namespace, "lease_name": LEASE}
    log = cluster.logs / f"{name}.log"
    return cluster.started.enter_context(
        running("controller", kubeconfig=cluster.kubeconfig, log=log, settings=settings)
    )


def leads(controller: Program) -> bool:
    return bool(controller.lines("leading"))


def until_it_leads(heir: Program) -> float:
    """Seconds from now."""
    began = time.monotonic()
    eventually("the other leads", lambda: leads(heir))
    return time.monotonic() - began


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process does nothing for the length of the block, and knows nothing of it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("sent", "within"), [(signal.SIGKILL, 15.0), (signal.SIGTERM, 2.0)], ids=["killed", "told"]
)
def test_the_other_leads_in_time(cluster: Cluster, sent: signal.Signals, within: float) -> None:
    first = by_default(cluster, "first")
    eventually("the first leads", lambda: leads(first))
    second = by_default(cluster, "second")
    eventually("the second stands by", lambda: second.is_ready)
    time.sleep(1)
    first.popen.send_signal(sent)
    took = until_it_leads(second)
    print(f"{sent.name}: {took:.2f} s")
    assert took < within


@pytest.mark.long
def test_of_three_that_race_one_leads_and_one_that_was_frozen_ends(cluster: Cluster) -> None:
    three = [
        cluster.start(name, lease_duration_seconds=TERMS.duration)
        for name in ("one", "two", "three")
    ]
    eventually("one leads", lambda: any(map(leads, three)))
    eventually("all have seen the Lease", lambda: all(one.is_ready for one in three))
    time.sleep(2 * TERMS.retry_period)
    [frozen] = filter(leads, three)
    others = [one for one in three if one is not frozen]
    with stopped(frozen.popen.pid):
        eventually("another leads", lambda: any(map(leads, others)))
        time.sleep(TERMS.duration)
        judged = len(frozen.lines("binding judged"))
        cluster.apply()
        cluster.judged(generation=1)
        [heir] = filter(leads, others)
    assert frozen.popen.wait(PATIENCE_SECONDS) == 1
    assert frozen.lines("no longer leading")
    assert len(frozen.lines("binding judged")) == judged
    [idle] = [one for one in others if one is not heir]
    assert not leads(idle)
    assert heir.popen.poll() is None


@pytest.mark.long
def test_a_leader_that_is_cut_off_ends_before_another_may_lead(cluster: Cluster) -> None:
    leader = cluster.leader("first", lease_duration_seconds=TERMS.duration)
    standby = cluster.standby("second", lease_duration_seconds=TERMS.duration)
    [api_server] = [one for one in cluster.control_plane.processes if one.name == "kube-apiserver"]
    with stopped(api_server.pid):
        began = time.monotonic()
        assert leader.popen.wait(PATIENCE_SECONDS) == 1
        assert time.monotonic() - began < TERMS.duration
        # It can do nothing about that, and a new start would not help.
        assert standby.popen.poll() is None
        assert standby.probe("/livez") == (200, "ok\n")
    [loss] = leader.lines("no longer leading")
    assert loss["code"] == "LeaseLost"
    eventually("the other leads", lambda: leads(standby))


@pytest.mark.parametrize("milliseconds", [0, 10, 60, 200])
def test_a_leader_told_to_stop_while_it_starts_to_work_exits_0(
    cluster: Cluster, milliseconds: int
) -> None:
    controller = cluster.start("controller")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not leads(controller):
        assert controller.popen.poll() is None
        assert time.monotonic() < deadline, "it never led"
        time.sleep(0.002)
    time.sleep(milliseconds / 1000)
    controller.popen.terminate()
    assert controller.popen.wait(PATIENCE_SECONDS) == 0
    holder = cluster.get(f"lease/{LEASE}")["spec"].get("holderIdentity")
    assert not holder


class Nobody:
    """Somebody who is told of bindings and does not care."""

    def saw(self, body: dict[str, Any]) -> None:
        """Nothing follows."""

    def lost(self, body: dict[str, Any]) -> None:
        """Nothing follows."""


async def test_a_dead_watch_is_seen_though_everything_else_lives(cluster: Cluster) -> None:
    beats: list[float] = []
    pulse = Pulse(time.monotonic, patience_seconds=5)

    def beat() -> None:
        beats.append(time.monotonic())
        pulse.beat()

    settings = routes.settings()
    settings.watching.server_timeout = 1
    stop = asyncio.Event()
    ours = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=routes.registry(login=partial(log_in, cluster.kubeconfig, beat), watcher=Nobody()),
        settings=settings,
        clusterwide=True,
        standalone=True,
        stop_flag=stop,
    )
    working = asyncio.create_task(kopf.run_tasks(tasks, ignored={*ours}))
    await asyncio.to_thread(eventually, "watches are begun anew", lambda: len(beats) > 4)
    assert pulse.problem() is None

    [watcher] = [one for one in asyncio.all_tasks() if one.get_name().startswith("watcher for ")]
    watcher.cancel()
    await asyncio.to_thread(eventually, "it is noticed", pulse.problem)
    assert "no watch of bindings was begun for" in str(pulse.problem())
    assert not working.done()
    stop.set()
    await asyncio.wait({working}, timeout=PATIENCE_SECONDS)
    assert working.done()
