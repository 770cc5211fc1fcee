"""A copy of a collection, kept true by list and watch.

A list replaces the copy as a whole, so what was deleted during an outage disappears. An outage
keeps the copy: old is better than empty. Never interprets objects: ``read`` does that.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Generic, NoReturn, Protocol, TypeVar

from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import Gone, KubeError

log = logging.getLogger(__name__)

T = TypeVar("T")

# A watch lasts this long plus up to half of it, so that replicas do not come back all at once.
WATCH_SECONDS: Final = 240
# Pauses after failures double from the first to the last, with full jitter.
FIRST_PAUSE_SECONDS: Final = 0.5
LAST_PAUSE_SECONDS: Final = 30.0
# The longest rest between two watches; what is missed meanwhile, admission reads for itself.
REST_SECONDS: Final = 1.0


class Source(Protocol):
    """What a reflector needs of the API client."""

    async def get(self, path: str) -> Json:
        """GET ``path``."""
        ...

    def watch(self, path: str, *, resource_version: str, seconds: int) -> AsyncIterator[Json]:
        """The events of ``path`` after ``resource_version``."""
        ...


@dataclass(frozen=True, slots=True)
class Chance:
    """Chance and waiting, given from outside: ``draw`` is uniform in [0, 1), pauses in seconds."""

    draw: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


class Reflector(Generic[T]):
    """The objects of a collection by namespace and name, each as ``read`` understood it."""

    def __init__(
        self,
        source: Source,
        path: str,
        *,
        read: Callable[[Json], T],
        chance: Chance,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._path = path
        self._read = read
        self._chance = chance
        self._clock = clock
        self._heard: float | None = None
        self._held: dict[str, dict[str, T]] = {}
        self._version: str | None = None
        self._synced = False
        self._failures = 0

    @property
    def synced(self) -> bool:
        """Whether there has been a first list."""
        return self._synced

    @property
    def heard(self) -> float | None:
        """When the server last said something, by ``clock`` in seconds; None before the first."""
        return self._heard

    @property
    def objects(self) -> int:
        """How many are held."""
        return sum(map(len, self._held.values()))

    def __iter__(self) -> Iterator[tuple[tuple[str, str], T]]:
        """Every object, with its namespace and name. Nothing may be awaited meanwhile."""
        for namespace, objects in self._held.items():
            for name, held in objects.items():
                yield (namespace, name), held

    def of(self, namespace: str) -> Mapping[str, T]:
        """The objects of ``namespace`` by name."""
        return dict(self._held.get(namespace, {}))

    async def run(self) -> NoReturn:
        """Keep the copy true for ever; failures are logged and retried."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
                self._failures = 0
                # Should a server end each watch at once, this is no busy loop.
                await self._chance.sleep(REST_SECONDS * self._chance.draw())
            except Gone:
                log.info("watch expired, listing again", extra={"path": self._path})
                self._version = None
            except KubeError as problem:
                # Listing again, because after an outage the server may not be where it was.
                self._version = None
                await self._pause(problem)

    async def _list(self) -> None:
        listed = await self._source.get(self._path)
        held: dict[str, dict[str, T]] = {}
        for item in listed.get("items") or ():
            namespace, name = _key(item)
            held.setdefault(namespace, {})[name] = self._understood(namespace, name, item)
        self._held = held
        self._version = _version(listed)
        self._synced, self._heard = True, self._clock()
        log.info("listed", extra={"path": self._path, "objects": self.objects})

    async def _watch(self) -> None:
        seconds = round(WATCH_SECONDS * (1 + self._chance.draw() / 2))
        version = self._version or ""
        async for event in self._source.watch(
            self._path, resource_version=version, seconds=seconds
        ):
            self._apply(event.get("type"), event.get("object") or {})
            self._failures, self._heard = 0, self._clock()

    def _apply(self, kind: object, item: Json) -> None:
        namespace, name = _key(item)
        match kind:
            case "ADDED" | "MODIFIED":
                found = self._understood(namespace, name, item)
                self._held.setdefault(namespace, {})[name] = found
            case "DELETED":
                self._held.get(namespace, {}).pop(name, None)
            case "BOOKMARK":
                pass
            case _:
                log.warning("unknown watch event", extra={"path": self._path, "type": kind})
        self._version = _version(item) or self._version

    def _understood(self, namespace: str, name: str, item: Json) -> T:
        """As `read` understands it; the very same where that is equal, as after a new status.

        Who keeps something for an object finds it again without a look at all of it.
        """
        fresh, known = self._read(item), self._held.get(namespace, {}).get(name)
        return fresh if known is None or known != fresh else known

    async def _pause(self, problem: KubeError) -> None:
        limit = min(FIRST_PAUSE_SECONDS * 2**self._failures, LAST_PAUSE_SECONDS)
        self._failures = min(self._failures + 1, 16)
        log.warning(
            "cannot follow the API server, keeping what is known",
            extra={"path": self._path, "code": problem.code, "problem": str(problem)},
        )
        await self._chance.sleep(limit * self._chance.draw())


def _key(item: Json) -> tuple[str, str]:
    metadata = item.get("metadata") or {}
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def _version(item: Json) -> str | None:
    return (item.get("metadata") or {}).get("resourceVersion")
