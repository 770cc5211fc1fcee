"""The copy of a collection, fed by a client that follows a script."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import Gone, KubeError, Unavailable
from rolesanywhere_operator.kube.reflector import Chance, Reflector

Act = Json | KubeError


def listing(version: str, *names: str) -> Json:
    return {"metadata": {"resourceVersion": version}, "items": [an_object(one) for one in names]}


def an_object(name: str, version: str = "1", **fields: Any) -> Json:
    return {
        "metadata": {"namespace": "team-a", "name": name, "resourceVersion": version},
        **fields,
    }


def event(kind: str, name: str, version: str, **fields: Any) -> Json:
    return {"type": kind, "object": an_object(name, version, **fields)}


class ScriptedSource:
    """Answers lists and watches in order; at the script's end it never answers again."""

    def __init__(self, *, lists: list[Act], watches: list[list[Act]]) -> None:
        self._lists = lists
        self._watches = watches
        self.watched_from: list[str] = []
        self.at_the_end = asyncio.Event()

    async def get(self, path: str) -> Json:
        if not self._lists:
            await self._end()
        act = self._lists.pop(0)
        if isinstance(act, KubeError):
            raise act
        return act

    async def watch(self, path: str, *, resource_version: str, seconds: int) -> AsyncIterator[Json]:
        self.watched_from.append(resource_version)
        if not self._watches:
            await self._end()
        for act in self._watches.pop(0):
            if isinstance(act, KubeError):
                raise act
            yield act

    async def _end(self) -> None:
        self.at_the_end.set()
        await asyncio.Event().wait()


class Times:
    """A clock that stands still unless it is slept on."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def chance(self) -> Chance:
        return Chance(draw=lambda: 0.5, sleep=self.sleep)


async def followed(
    source: ScriptedSource, times: Times | None = None, *, read: Callable[[Json], Any] = dict
) -> Reflector[Any]:
    """The reflector once it has followed the whole script."""
    reflector: Reflector[Any] = Reflector(
        source,
        "/things",
        read=read,
        chance=(times or Times()).chance(),
        clock=lambda: times.now if times else 0.0,
    )
    running = asyncio.create_task(reflector.run())
    try:
        async with asyncio.timeout(5):
            await source.at_the_end.wait()
    finally:
        running.cancel()
    return reflector


async def test_events_keep_the_copy_true() -> None:
    source = ScriptedSource(
        lists=[listing("10", "a", "b")],
        watches=[
            [
                event("ADDED", "c", "11"),
                event("MODIFIED", "a", "12", changed=True),
                event("DELETED", "b", "13"),
            ]
        ],
    )
    held = (await followed(source)).of("team-a")
    assert sorted(held) == ["a", "c"]
    assert held["a"]["changed"] is True


async def test_what_is_read_as_it_was_stays_the_very_same_object() -> None:
    """Who keeps something for an object finds it again when only its status was written."""
    written: list[Act] = [event("MODIFIED", "a", "11"), event("MODIFIED", "b", "12", changed=True)]
    source = ScriptedSource(lists=[listing("10", "a", "b")], watches=[written])
    made: list[tuple[str, bool]] = []

    def read(raw: Json) -> tuple[str, bool]:
        made.append((raw["metadata"]["name"], raw.get("changed", False)))
        return made[-1]

    held = (await followed(source, read=read)).of("team-a")
    assert held == {"a": ("a", False), "b": ("b", True)}
    assert held["a"] is made[0]
    assert made[2] == made[0]


async def test_it_knows_when_it_last_heard_anything_and_how_much_it_holds() -> None:
    times, bookmark = Times(), {"type": "BOOKMARK", "object": {"metadata": {}}}
    source = ScriptedSource(lists=[listing("10", "a", "b")], watches=[[], [bookmark], []])
    reflector = await followed(source, times)
    assert reflector.objects == 2
    # After the first watch it rested for half a second, and the third one said nothing.
    assert (reflector.heard, times.now) == (100.5, 101.5)


async def test_an_outage_makes_what_is_known_older() -> None:
    times = Times()
    source = ScriptedSource(lists=[Unavailable("down"), listing("10", "a")], watches=[])
    reflector = await followed(source, times)
    assert reflector.heard == times.now == 100.25
    never = Reflector(source, "/things", read=dict, chance=times.chance())
    assert (never.heard, never.objects) == (None, 0)


async def test_a_watch_that_ends_goes_on_from_the_last_event() -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "20"}}}
    source = ScriptedSource(
        lists=[listing("10")], watches=[[event("ADDED", "a", "11")], [bookmark]]
    )
    reflector = await followed(source)
    assert source.watched_from == ["10", "11", "20"]
    assert sorted(reflector.of("team-a")) == ["a"]


async def test_a_server_that_ends_every_watch_at_once_is_not_asked_in_a_busy_loop() -> None:
    times = Times()
    await followed(ScriptedSource(lists=[listing("10")], watches=[[], [], []]), times)
    assert times.slept == [0.5, 0.5, 0.5]


async def test_what_was_deleted_during_an_outage_disappears() -> None:
    source = ScriptedSource(
        lists=[listing("10", "a", "b"), listing("90", "b")],
        watches=[[Unavailable("connection reset")]],
    )
    assert sorted((await followed(source)).of("team-a")) == ["b"]


async def test_a_version_too_old_is_listed_again_at_once() -> None:
    times = Times()
    source = ScriptedSource(
        lists=[listing("10", "a"), listing("90", "b")], watches=[[Gone("too old")]]
    )
    reflector = await followed(source, times)
    assert sorted(reflector.of("team-a")) == ["b"]
    assert source.watched_from == ["10", "90"]
    assert times.slept == []


async def test_an_outage_keeps_what_is_known_and_backs_off() -> None:
    times = Times()
    broken = Unavailable("connection refused")
    source = ScriptedSource(lists=[listing("10", "a"), broken, broken, broken], watches=[[broken]])
    reflector = await followed(source, times)
    assert sorted(reflector.of("team-a")) == ["a"]
    assert reflector.synced
    assert times.slept == [0.25, 0.5, 1.0, 2.0]


async def test_pauses_have_a_longest() -> None:
    times = Times()
    source = ScriptedSource(lists=[Unavailable("no")] * 12, watches=[])
    await followed(source, times)
    assert max(times.slept) == 15.0


async def test_it_is_not_synced_before_the_first_list() -> None:
    reflector = await followed(ScriptedSource(lists=[Unavailable("no")], watches=[]))
    assert not reflector.synced


async def test_a_namespace_nobody_knows_is_empty() -> None:
    reflector = await followed(ScriptedSource(lists=[listing("1", "a")], watches=[]))
    assert reflector.of("team-b") == {}
