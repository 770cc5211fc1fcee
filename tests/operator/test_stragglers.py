"""Pods that asked and went without a sidecar: who counts as one, and who is told what."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from rolesanywhere_operator.controller.patrol import MOST_EVENTS, ROUND_SECONDS, Patrol
from rolesanywhere_operator.domain import stragglers
from rolesanywhere_operator.domain.marks import Mark
from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import Conflict, Forbidden, KubeError, Unavailable
from rolesanywhere_operator.kube.reflector import Chance

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ASKS = {"rolesanywhere.dev/inject": "true"}
MARK = str(Mark(binding="reports", generation=1, image="i", containers=("app",)))


def metadata(
    name: str = "web-1", *, owner: str = "web", annotations: Mapping[str, str] = ASKS, **more: Any
) -> Json:
    """The metadata of a pod; without ``owner`` it has none."""
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": f"u-{owner}"}
    return {
        "metadata": {
            "namespace": "team-a",
            "name": name,
            "uid": f"u-{name}",
            "creationTimestamp": "2026-03-01T11:00:00Z",
            "annotations": dict(annotations),
            "ownerReferences": [{**reference, "controller": True}] if owner else None,
            **more,
        }
    }


@pytest.mark.parametrize(
    ("pod", "is_one"),
    [
        (metadata(), True),
        (metadata(annotations={"rolesanywhere.dev/binding": "reports"}), True),
        (metadata(annotations={"rolesanywhere.dev/inject": "yes"}), True),
        (metadata(annotations={"rolesanywhere.dev/inject": "false"}), False),
        (metadata(annotations={}), False),
        (metadata(annotations={**ASKS, "rolesanywhere.dev/injected": MARK}), False),
        (metadata(annotations={**ASKS, "rolesanywhere.dev/injected": "forged"}), True),
        (metadata(annotations={**ASKS, "kubernetes.io/config.mirror": "x"}), False),
        (metadata(deletionTimestamp="2026-03-01T11:59:00Z"), False),
    ],
    ids=["asks", "names", "malformed", "opted-out", "silent", "injected", "forged", "static",
         "going"],
)  # fmt: skip
def test_who_asked_and_went_without_is_told_by_metadata(pod: Json, is_one: bool) -> None:
    assert (stragglers.read(pod) is not None) is is_one


def test_the_subject_is_the_controller_or_else_the_pod() -> None:
    owned, alone = stragglers.read(metadata()), stragglers.read(metadata("solo", owner=""))
    assert owned is not None
    assert alone is not None
    assert (owned.subject.kind, owned.subject.name) == ("ReplicaSet", "web")
    assert (alone.subject.kind, alone.subject.name) == ("Pod", "solo")
    not_its_controller = metadata()
    not_its_controller["metadata"]["ownerReferences"][0]["controller"] = False
    friend = stragglers.read(not_its_controller)
    assert friend is not None
    assert friend.subject.kind == "Pod"


class Server:
    """The pods of a cluster in pages of two, and the Events that were posted."""

    def __init__(self, *pods: Json) -> None:
        self.pods = list(pods)
        self.posted: list[Json] = []
        self.outage: KubeError | None = None
        self.refusals: dict[str, KubeError] = {}
        self.queries: list[dict[str, str]] = []

    async def get(
        self, path: str, *, query: Mapping[str, str] | None = None, accept: str = ""
    ) -> Json:
        assert path == "/api/v1/pods"
        assert "as=PartialObjectMetadataList" in accept
        if self.outage is not None:
            raise self.outage
        asked = dict(query or {})
        self.queries.append(asked)
        first = int(asked.get("continue", 0))
        further = str(first + 2) if first + 2 < len(self.pods) else ""
        return {"metadata": {"continue": further}, "items": self.pods[first : first + 2]}

    def watch(self, path: str, **_: Any) -> AsyncIterator[Json]:
        raise AssertionError("a watch of all pods costs too much")

    async def request(self, method: str, path: str, *, body: Json) -> Json:
        assert (method, path) == ("POST", "/api/v1/namespaces/team-a/events")
        if refusal := self.refusals.get(body["involvedObject"]["name"]):
            raise refusal
        if body["metadata"]["name"] in [one["metadata"]["name"] for one in self.posted]:
            raise Conflict("there is one of that name", status=409)
        self.posted.append(body)
        return body

    def told(self) -> list[str]:
        """About whom, in order."""
        return [one["involvedObject"]["name"] for one in self.posted]


async def rounds(server: Server, count: int = 1, patrol: Patrol | None = None) -> Patrol:
    """A patrol after ``count`` rounds."""
    rested: list[float] = []
    done = asyncio.Event()

    async def sleep(seconds: float) -> None:
        rested.append(seconds)
        if len(rested) == count:
            done.set()
            await asyncio.Event().wait()

    chance = Chance(draw=lambda: 0.5, sleep=sleep)
    patrol = patrol or Patrol(server, chance=chance, now=lambda: NOON, reporter="controller-0")
    patrol._chance = chance
    task = asyncio.create_task(patrol.run())
    async with asyncio.timeout(5):
        await done.wait()
    task.cancel()
    assert min(rested) >= ROUND_SECONDS
    return patrol


async def test_all_of_an_owners_pods_are_one_event_that_says_what_to_do() -> None:
    older = metadata("web-0", creationTimestamp="2026-03-01T10:00:00Z")
    server = Server(metadata("web-1"), older, metadata("web-2"))
    patrol = await rounds(server)
    [event] = server.posted
    assert event["involvedObject"] == {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "namespace": "team-a",
        "name": "web",
        "uid": "u-web",
    }
    assert (event["type"], event["reason"]) == ("Warning", "NotInjected")
    assert event["message"] == (
        "3 of its pods ask for AWS credentials and have no sidecar, the oldest is web-0, because"
        " the webhook was not asked when it was created: it was not installed yet, was away, or is"
        " kept out of this namespace. Delete each; ReplicaSet web makes a new one, with a sidecar."
    )
    assert patrol.found == 3


async def test_pods_are_read_in_pages_without_those_of_our_label_and_those_that_are_over() -> None:
    server = Server(*(metadata(f"web-{n}") for n in range(5)))
    patrol = await rounds(server)
    assert patrol.found == 5
    assert [query.get("continue") for query in server.queries] == [None, "2", "4"]
    for query in server.queries:
        assert query["labelSelector"] == "!rolesanywhere.dev/binding"
        assert query["fieldSelector"] == "status.phase!=Succeeded,status.phase!=Failed"
        assert query["limit"] == "500"


async def test_who_has_been_told_is_not_told_again_until_it_has_been_well() -> None:
    server = Server(metadata("web-1"))
    patrol = await rounds(server, 3)
    assert server.told() == ["web"]
    server.pods = []
    await rounds(server, 1, patrol)
    server.pods = [metadata("web-9")]
    await rounds(server, 1, patrol)
    assert server.told() == ["web", "web"]


async def test_the_next_leader_does_not_say_it_again() -> None:
    server = Server(metadata("web-1"), metadata("web-2"))
    await rounds(server)
    await rounds(server)
    assert server.told() == ["web"]


async def test_a_round_that_fails_is_followed_by_another() -> None:
    server = Server(metadata())
    server.outage = Unavailable("no")
    patrol = await rounds(server, 2)
    assert patrol.found is None
    server.outage = None
    await rounds(server, 1, patrol)
    assert server.told() == ["web"]


async def test_a_namespace_that_takes_no_event_keeps_none_from_the_others() -> None:
    server = Server(metadata("a-1", owner="a"), metadata("b-1", owner="b"))
    server.refusals["a"] = Forbidden("it is being deleted", status=403)
    patrol = await rounds(server)
    assert server.told() == ["b"]
    server.refusals.clear()
    await rounds(server, 1, patrol)
    assert server.told() == ["b", "a"]


async def test_a_whole_cluster_that_went_without_is_no_storm_of_events() -> None:
    server = Server(*(metadata(f"p-{n}", owner=f"rs-{n}") for n in range(MOST_EVENTS + 10)))
    patrol = await rounds(server)
    assert len(server.posted) == MOST_EVENTS
    await rounds(server, 1, patrol)
    assert len(server.posted) == MOST_EVENTS + 10
