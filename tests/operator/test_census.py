"""How many pods a binding serves: the count, and who keeps it in the status."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from rolesanywhere_operator.controller.census import PODS, REST_SECONDS, RUNNING, Census
from rolesanywhere_operator.domain import census, marks
from rolesanywhere_operator.domain.census import Count, Counted, Injected
from rolesanywhere_operator.domain.marks import Mark
from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import Gone, KubeError, NotFound, Unavailable
from rolesanywhere_operator.kube.reflector import Chance

REPORTS = ("team-a", "reports")


def an_injected_pod(name: str = "p", *, binding: str = "reports", generation: int = 1) -> Json:
    """The metadata of a pod that the webhook has been at."""
    mark = Mark(binding=binding, generation=generation, image="i", containers=("app",))
    return {
        "metadata": {
            "namespace": "team-a",
            "name": name,
            "uid": f"uid-of-{name}",
            "resourceVersion": "7",
            "labels": {"rolesanywhere.dev/binding": binding},
            "annotations": {"rolesanywhere.dev/injected": str(mark), "other": "x" * 1000},
            "managedFields": [{}],
        }
    }


def a_binding(generation: int = 1, **status: Any) -> Json:
    """A binding as the API server holds it, judged."""
    return a_new_binding(generation, observedGeneration=generation, **status)


def a_new_binding(generation: int = 1, **status: Any) -> Json:
    """One that nobody has judged yet."""
    metadata = {"namespace": "team-a", "name": "reports", "generation": generation}
    return {"metadata": {**metadata, "resourceVersion": "1"}, "status": status}


def pod(uid: str = "1", *, generation: int = 1, binding: str = "reports") -> Injected:
    return Injected(uid, binding, generation)


def counted(*pods: tuple[str, Injected | None], **running: str) -> Count:
    """The count of ``reports``, which is at its second generation."""
    found = census.tally(
        [(("team-a", name), one) for name, one in pods],
        {("team-a", name): uid for name, uid in running.items()},
        {REPORTS: Counted(2, "", None)},
    )
    return found[REPORTS]


def test_pods_are_counted_by_what_they_are() -> None:
    pods = [("a", pod("1", generation=2)), ("b", pod("2")), ("c", pod("3", generation=2))]
    assert counted(*pods, a="1", b="2") == Count(injected=3, ready=2, outdated=1)


def test_a_binding_without_pods_has_none() -> None:
    assert counted() == Count(0, 0, 0)


def test_what_carries_the_label_without_our_mark_is_not_counted() -> None:
    assert counted(("a", None)) == Count(0, 0, 0)


def test_a_pod_of_the_same_name_as_one_that_ran_is_not_ready_for_that() -> None:
    assert counted(("a", pod("new")), a="old").ready == 0


def test_pods_of_another_namespaces_binding_or_of_none_count_for_nobody() -> None:
    stranger = (("team-b", "a"), pod())
    orphan = (("team-a", "b"), pod(binding="deleted"))
    found = census.tally([stranger, orphan], {}, {REPORTS: Counted(1, "", None)})
    assert found == {REPORTS: Count(0, 0, 0)}


def test_a_pod_of_a_binding_that_was_made_anew_is_outdated() -> None:
    assert counted(("a", pod(generation=7))).outdated == 1


@pytest.mark.parametrize(
    "annotation", [None, "", "{}", "[" * 100_000, "null", '{"binding": 1}', "9" * 5000]
)
def test_no_annotation_of_an_author_breaks_the_count(annotation: str | None) -> None:
    written = {} if annotation is None else {"rolesanywhere.dev/injected": annotation}
    assert census.read_pod({"metadata": {"annotations": written}}) is None


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ({"injected": 3, "ready": 2, "outdated": 1}, Count(3, 2, 1)),
        ({"injected": 3}, None),
        ({}, None),
        (None, None),
    ],
)
def test_what_a_status_says_is_read_whole_or_not_at_all(pods: object, said: Count | None) -> None:
    assert census.read_binding(a_binding(pods=pods)).said == said


class Server:
    """An API server of three collections, which answers lists and pushes events."""

    def __init__(self, *, pods: list[Json], running: list[Json], bindings: list[Json]) -> None:
        self.lists = {"injected": pods, "running": running, "bindings": bindings}
        self.watches: dict[str, asyncio.Queue[Json | KubeError]] = {
            name: asyncio.Queue() for name in self.lists
        }
        self.written: list[Any] = []
        self.refusals: list[KubeError] = []
        self.asked: list[tuple[str, Mapping[str, str] | None, str]] = []

    async def get(
        self, path: str, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Json:
        self.asked.append((path, query, accept))
        return {
            "metadata": {"resourceVersion": "5"},
            "items": list(self.lists[self._named(path, query)]),
        }

    async def watch(
        self,
        path: str,
        *,
        resource_version: str,
        seconds: int,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> AsyncIterator[Json]:
        events = self.watches[self._named(path, query)]
        while True:
            event = await events.get()
            if isinstance(event, KubeError):
                raise event
            yield event

    async def request(
        self, method: str, path: str, *, body: Json, query: Mapping[str, str], content_type: str
    ) -> Json:
        if self.refusals:
            raise self.refusals.pop(0)
        self.written.append((method, path.rpartition("/apis/")[2], body, content_type))
        return {}

    def counts(self) -> list[Any]:
        """What was written, in order: injected, ready, outdated."""
        return [tuple(body["status"]["pods"].values()) for _, _, body, _ in self.written]

    def _named(self, path: str, query: Mapping[str, str] | None) -> str:
        if path != PODS:
            return "bindings"
        return "running" if (query or {})["fieldSelector"] == RUNNING.fields else "injected"


class Times:
    """Rests that end when the test says so; each pass lets everything happen that can."""

    def __init__(self) -> None:
        self.rests: list[float] = []
        self._over = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        await self._over.wait()

    async def settle(self) -> None:
        """Until nothing moves, and then the end of all rests."""
        for _ in range(50):
            await asyncio.sleep(0)
        over, self._over = self._over, asyncio.Event()
        over.set()
        for _ in range(50):
            await asyncio.sleep(0)


async def kept(server: Server, times: Times) -> tuple[Census, "asyncio.Task[None]"]:
    """A census that has done what it can do for now."""
    keeping = Census(server, chance=Chance(draw=lambda: 0.5, sleep=times.sleep))
    task = asyncio.create_task(keeping.run())
    await times.settle()
    return keeping, task


async def test_a_count_is_written_as_a_patch_of_that_field_alone() -> None:
    server = Server(pods=[an_injected_pod()], running=[], bindings=[a_binding()])
    _, task = await kept(server, Times())
    task.cancel()
    assert server.written == [
        (
            "PATCH",
            "rolesanywhere.dev/v1alpha1/namespaces/team-a/rolesanywherebindings/reports/status",
            {"status": {"pods": {"injected": 1, "ready": 0, "outdated": 0}}},
            "application/merge-patch+json",
        )
    ]


async def test_pods_are_asked_for_by_label_in_pages_and_without_their_specs() -> None:
    server = Server(pods=[], running=[], bindings=[])
    _, task = await kept(server, Times())
    task.cancel()
    asked = [(query or {}, accept) for path, query, accept in server.asked if path == PODS]
    assert len(asked) == 2
    for query, accept in asked:
        assert query["labelSelector"] == "rolesanywhere.dev/binding"
        assert query["limit"] == "500"
        assert "as=PartialObjectMetadataList" in accept
    assert {query["fieldSelector"] for query, _ in asked} == {
        "status.phase!=Succeeded,status.phase!=Failed",
        "status.phase=Running",
    }


async def test_what_the_status_says_already_is_not_written() -> None:
    said = {"injected": 1, "ready": 1, "outdated": 0}
    server = Server(
        pods=[an_injected_pod()], running=[an_injected_pod()], bindings=[a_binding(pods=said)]
    )
    keeping, task = await kept(server, Times())
    task.cancel()
    assert server.written == []
    assert keeping.counts == {REPORTS: Count(1, 1, 0)}


async def test_a_binding_gets_its_count_after_its_first_conditions() -> None:
    """Both at once would be a conflict, and a third write."""
    server = Server(pods=[an_injected_pod()], running=[], bindings=[a_new_binding()])
    times = Times()
    keeping, task = await kept(server, times)
    assert server.written == []
    assert keeping.counts == {REPORTS: Count(1, 0, 0)}
    server.watches["bindings"].put_nowait({"type": "MODIFIED", "object": a_binding()})
    await times.settle()
    await times.settle()
    task.cancel()
    assert len(server.written) == 1


async def test_a_thousand_pods_in_a_second_are_two_writes() -> None:
    server, times = Server(pods=[], running=[], bindings=[a_binding()]), Times()
    _, task = await kept(server, times)
    for number in range(1000):
        server.watches["injected"].put_nowait(
            {"type": "ADDED", "object": an_injected_pod(f"p{number}")}
        )
    await times.settle()
    await times.settle()
    task.cancel()
    assert len(server.written) <= 3
    assert server.counts()[-1] == (1000, 0, 0)


async def test_what_was_written_is_not_written_again_while_the_watch_is_behind() -> None:
    server, times = Server(pods=[], running=[], bindings=[a_binding()]), Times()
    _, task = await kept(server, times)
    for _ in range(3):
        server.watches["injected"].put_nowait({"type": "ADDED", "object": an_injected_pod()})
        await times.settle()
        await times.settle()
    task.cancel()
    assert server.counts() == [(0, 0, 0), (1, 0, 0)]


async def test_a_list_after_missed_deletions_puts_the_count_right() -> None:
    pods = [an_injected_pod("a"), an_injected_pod("b")]
    server, times = Server(pods=pods, running=pods, bindings=[a_binding()]), Times()
    _, task = await kept(server, times)
    assert server.counts() == [(2, 2, 0)]
    server.lists["injected"] = server.lists["running"] = [an_injected_pod("b")]
    for name in ("injected", "running"):
        server.watches[name].put_nowait(Gone("too old"))
    await times.settle()
    await times.settle()
    task.cancel()
    assert server.counts()[-1] == (1, 1, 0)


async def test_a_write_that_fails_is_repeated_after_a_longer_rest() -> None:
    server, times = Server(pods=[], running=[], bindings=[a_binding()]), Times()
    server.refusals = [Unavailable("no"), Unavailable("no")]
    _, task = await kept(server, times)
    assert server.counts() == []
    for _ in range(3):
        await times.settle()
    task.cancel()
    assert server.counts() == [(0, 0, 0)]
    assert [rest for rest in times.rests if rest >= REST_SECONDS][:2] == [2.0, 4.0]


async def test_a_binding_that_is_gone_is_nobodys_trouble() -> None:
    server, times = Server(pods=[], running=[], bindings=[a_binding()]), Times()
    server.refusals = [NotFound("gone", status=404)]
    _, task = await kept(server, times)
    await times.settle()
    assert not task.done()
    task.cancel()
    assert server.counts() == []


async def test_a_count_that_somebody_else_overwrote_is_written_again() -> None:
    server, times = Server(pods=[], running=[], bindings=[a_binding()]), Times()
    _, task = await kept(server, times)
    forged = a_binding(pods={"injected": 99, "ready": 0, "outdated": 0})
    forged["metadata"]["resourceVersion"] = "9"
    server.watches["bindings"].put_nowait({"type": "MODIFIED", "object": forged})
    await times.settle()
    await times.settle()
    task.cancel()
    assert server.counts() == [(0, 0, 0), (0, 0, 0)]


async def test_nothing_is_counted_before_everything_is_listed() -> None:
    hang = asyncio.Event()

    class Slow(Server):
        async def get(
            self,
            path: str,
            *,
            query: Mapping[str, str] | None = None,
            accept: str = "application/json",
        ) -> Json:
            if query and query.get("fieldSelector") == RUNNING.fields:
                await hang.wait()
            return await super().get(path, query=query, accept=accept)

    server = Slow(pods=[an_injected_pod()], running=[], bindings=[a_binding()])
    times = Times()
    keeping, task = await kept(server, times)
    assert server.written == []
    assert keeping.counts == {}
    hang.set()
    await times.settle()
    await times.settle()
    task.cancel()
    assert server.counts() == [(1, 0, 0)]


def test_little_is_kept_of_a_pod() -> None:
    kept = census.read_pod(an_injected_pod())
    assert kept == Injected("uid-of-p", "reports", 1)
    assert not hasattr(kept, "__dict__")
    assert marks.read(json.loads(json.dumps(an_injected_pod()))) is not None
