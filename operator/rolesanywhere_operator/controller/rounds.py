"""Which bindings to look at again, and when: each by one worker at a time, at a measured pace.

Never knows what a look is. Marks that come while a look is under way lead to one more look after
it, so that many changes cost few looks and none is missed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_operator.kube.errors import Conflict
from rolesanywhere_operator.kube.reflector import Chance

log = logging.getLogger(__name__)

# Namespace and name of a binding.
Key = tuple[str, str]
# Looks at a binding; answers in how many seconds to look again though nothing changes, if ever.
Look = Callable[[Key], Awaitable[float | None]]

# Looks at a time. They wait for the API server, which other clients want something of, too.
_WORKERS: Final = 8
# Pauses after failures double from the first to the last, with jitter down to half.
FIRST_PAUSE_SECONDS: Final = 0.5
LAST_PAUSE_SECONDS: Final = 60.0


def uncounted(_: str) -> None:
    """Nobody counts."""


class Rounds:
    """The bindings that are to be looked at; ``looked`` is told each look's code, "" if well."""

    def __init__(
        self, look: Look, *, chance: Chance, looked: Callable[[str], None] = uncounted
    ) -> None:
        self._look = look
        self._chance = chance
        self._looked = looked
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        # Marked and not begun; begun and not done. A key in both is queued when it is done.
        self._marked: set[Key] = set()
        self._begun: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._later: dict[Key, asyncio.Task[None]] = {}

    def mark(self, key: Key) -> None:
        """Look at ``key`` as soon as may be."""
        if key not in self._marked:
            self._marked.add(key)
            if key not in self._begun:
                self._queue.put_nowait(key)

    async def run(self) -> None:
        """Look at what is marked, for ever. Failed looks are logged and repeated."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(_WORKERS):
                    workers.create_task(self._work())
        finally:
            for waiting in self._later.values():
                waiting.cancel()

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._marked.discard(key)
            self._begun.add(key)
            self._forget_later(key)
            again = await self._tried(key)
            self._begun.discard(key)
            if key in self._marked:
                self._queue.put_nowait(key)
            elif again is not None:
                self._later[key] = asyncio.create_task(self._mark_after(key, again))

    async def _tried(self, key: Key) -> float | None:
        try:
            again = await self._look(key)
        except Exception as problem:  # one binding's trouble is not another's
            return self._pause(key, problem)
        self._failures.pop(key, None)
        self._looked("")
        return again

    def _pause(self, key: Key, problem: Exception) -> float:
        self._looked(problem.code if isinstance(problem, RolesAnywhereError) else "Internal")
        failures = self._failures.get(key, 0)
        self._failures[key] = min(failures + 1, 16)
        limit: float = min(FIRST_PAUSE_SECONDS * 2**failures, LAST_PAUSE_SECONDS)
        fields = {"namespace": key[0], "binding": key[1], "problem": str(problem)}
        match problem:
            case Conflict():
                # Somebody else wrote first, and the watch is about to say so.
                log.debug("binding changed meanwhile", extra={**fields, "code": problem.code})
            case RolesAnywhereError():
                log.warning("binding not settled", extra={**fields, "code": problem.code})
            case _:
                log.error("binding not settled", extra={**fields, "code": "Internal"},
                          exc_info=problem)  # fmt: skip
        return limit * (1 + self._chance.draw()) / 2

    async def _mark_after(self, key: Key, seconds: float) -> None:
        await self._chance.sleep(seconds)
        self._later.pop(key, None)
        self.mark(key)

    def _forget_later(self, key: Key) -> None:
        waiting = self._later.pop(key, None)
        if waiting is not None:
            waiting.cancel()
