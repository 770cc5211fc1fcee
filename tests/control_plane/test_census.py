"""What the controller knows of pods, on a real API server: how many, and which went without."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from rolesanywhere_operator.controller.census import Census
from rolesanywhere_operator.domain.census import Count
from rolesanywhere_operator.domain.marks import Mark
from rolesanywhere_operator.kube.client import Json, Kube, connect
from rolesanywhere_operator.kube.errors import Gone
from rolesanywhere_operator.kube.reflector import Chance
from tests.cluster.controllers import Cluster
from tests.support.waiting import PATIENCE_SECONDS, eventually

BINDINGS = "rolesanywherebindings.rolesanywhere.dev"


def a_pod(name: str, **metadata: Any) -> Json:
    """A pod that no node will ever run."""
    container = {"name": "app", "image": "registry.example/app:1"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {"containers": [container], "schedulerName": "nobody"},
    }


def an_injected_pod(name: str, *, generation: int = 1) -> Json:
    """A pod as the webhook leaves it, as far as its metadata goes."""
    mark = Mark(binding="reports", generation=generation, image="i", containers=("app",))
    return a_pod(
        name,
        labels={"rolesanywhere.dev/binding": "reports"},
        annotations={
            "rolesanywhere.dev/inject": "true",
            "rolesanywhere.dev/injected": str(mark),
        },
    )


def make(cluster: Cluster, pods: list[Json]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": pods}
    cluster.control_plane.kubectl(
        "create", "--filename=-", f"--namespace={cluster.namespace}", input=json.dumps(listed)
    )


def becomes(cluster: Cluster, name: str, phase: str) -> None:
    """What a kubelet would say of the pod."""
    cluster.control_plane.kubectl(
        "patch", "pod", name, f"--namespace={cluster.namespace}", "--subresource=status",
        "--type=merge", f'--patch={{"status":{{"phase":"{phase}"}}}}',
    )  # fmt: skip


def delete(cluster: Cluster, *names: str) -> None:
    cluster.control_plane.kubectl(
        "delete", "pod", *names, f"--namespace={cluster.namespace}", "--wait=false", "--now"
    )


def counted(cluster: Cluster, *, injected: int, ready: int = 0, outdated: int = 0) -> None:
    """The binding comes to say so."""
    expected = {"injected": injected, "ready": ready, "outdated": outdated}

    def look() -> bool:
        found: object = cluster.binding().get("status", {}).get("pods")
        return found == expected

    eventually(f"{expected} are counted", look)


def test_pods_are_counted_as_they_come_run_age_finish_and_go(cluster: Cluster) -> None:
    cluster.apply()
    cluster.leader("controller")
    counted(cluster, injected=0)
    make(cluster, [an_injected_pod(f"p{n}") for n in range(4)] + [a_pod("other")])
    counted(cluster, injected=4)
    becomes(cluster, "p0", "Running")
    becomes(cluster, "p1", "Running")
    counted(cluster, injected=4, ready=2)
    cluster.apply(durationSeconds=1800)
    counted(cluster, injected=4, ready=2, outdated=4)
    make(cluster, [an_injected_pod("new", generation=2)])
    counted(cluster, injected=5, ready=2, outdated=4)
    becomes(cluster, "p1", "Succeeded")
    becomes(cluster, "p2", "Failed")
    counted(cluster, injected=3, ready=1, outdated=2)
    delete(cluster, "p0")
    counted(cluster, injected=2, outdated=1)


def test_three_hundred_pods_are_a_few_writes(cluster: Cluster) -> None:
    cluster.apply()
    cluster.leader("controller")
    counted(cluster, injected=0)
    # Another writes to it, too, and may be the last to do so.
    cluster.judged(generation=1)
    began = time.monotonic()
    make(cluster, [an_injected_pod(f"p{n}") for n in range(300)])
    counted(cluster, injected=300)
    took = time.monotonic() - began
    user = f"system:serviceaccount:{cluster.namespace}:{cluster.kubeconfig.stem.split('.')[1]}"
    writes = [
        request
        for request in cluster.control_plane.audit.requests_of(user)
        if "patch" in request.verbs
        and request.resource == f"{BINDINGS}/status"
        and request.namespace == cluster.namespace
    ]
    # One a second; and the controller's own few about the conditions.
    assert len(writes) <= took + 5
    settled = cluster.binding()
    time.sleep(3)
    assert cluster.binding() == settled


def test_what_was_deleted_while_nobody_led_is_not_counted_any_more(cluster: Cluster) -> None:
    cluster.apply()
    first = cluster.leader("first")
    make(cluster, [an_injected_pod(f"p{n}") for n in range(3)])
    counted(cluster, injected=3)
    first.popen.terminate()
    assert first.popen.wait(PATIENCE_SECONDS) == 0
    delete(cluster, "p0", "p1")
    cluster.leader("second")
    counted(cluster, injected=1)


class Deaf:
    """A way to the API server whose watches can be made to hear nothing, and then to be too old."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._deaf = False
        self._missed = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)

    async def watch(self, path: str, **how: Any) -> AsyncIterator[Json]:
        async for event in self._kube.watch(path, **how):
            if not self._deaf:
                yield event
                continue
            await self._missed.wait()
            raise Gone(f"watch {path}: too old resource version")

    def deafen(self) -> None:
        """What happens from now on is missed."""
        self._deaf = True

    def relist(self) -> None:
        """The watches find that they are too old, and all that follow them are well."""
        self._missed.set()


async def settled(look: Callable[[], bool]) -> None:
    """Until ``look`` says so, with the event loop free to work."""
    await asyncio.to_thread(eventually, "the census settles", look)


async def test_deletions_that_a_watch_missed_are_seen_by_the_next_list(cluster: Cluster) -> None:
    await asyncio.to_thread(cluster.apply)
    pods = [an_injected_pod(f"p{n}") for n in range(3)]
    await asyncio.to_thread(make, cluster, pods)
    key = (cluster.namespace, "reports")
    async with connect(cluster.kubeconfig) as kube:
        deaf = Deaf(kube)
        census = Census(deaf, chance=Chance(draw=lambda: 0.5, sleep=asyncio.sleep))
        counting = asyncio.create_task(census.run())
        await settled(lambda: census.counts.get(key) == Count(3, 0, 0))
        deaf.deafen()
        await asyncio.to_thread(delete, cluster, "p0", "p1")
        await asyncio.sleep(2)
        assert census.counts[key] == Count(3, 0, 0)
        deaf.relist()
        await settled(lambda: census.counts[key] == Count(1, 0, 0))
        counting.cancel()
        await asyncio.wait({counting})


def events(cluster: Cluster) -> list[Json]:
    """What was told of pods that went without."""
    return [one for one in cluster.get("events")["items"] if one["reason"] == "NotInjected"]


def test_owners_of_pods_that_went_without_are_told_once_and_by_name(cluster: Cluster) -> None:
    asked = {"rolesanywhere.dev/inject": "true"}
    template = {
        "metadata": {"labels": {"app": "web"}, "annotations": asked},
        "spec": a_pod("web")["spec"],
    }
    replicas = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
        },
    }
    make(cluster, [replicas, a_pod("alone", annotations=asked), a_pod("asks-for-nothing")])
    eventually("the ReplicaSet has its pods", lambda: len(cluster.get("pods")["items"]) == 5)
    first = cluster.leader("first")

    def told() -> list[Json]:
        return found if len(found := events(cluster)) == 2 else []

    about = {one["involvedObject"]["kind"]: one for one in eventually("both are told", told)}
    assert about["ReplicaSet"]["involvedObject"]["name"] == "web"
    assert about["ReplicaSet"]["message"].startswith("3 of its pods ask for AWS credentials")
    assert "ReplicaSet web makes a new one" in about["ReplicaSet"]["message"]
    assert about["Pod"]["involvedObject"]["name"] == "alone"

    # Nor does the next leader say it again.
    first.popen.terminate()
    assert first.popen.wait(PATIENCE_SECONDS) == 0
    before = {one["metadata"]["resourceVersion"] for one in events(cluster)}
    second = cluster.leader("second")
    cluster.apply()
    counted(cluster, injected=0)
    time.sleep(2)
    assert {one["metadata"]["resourceVersion"] for one in events(cluster)} == before
    assert not second.lines("pods without a sidecar")
