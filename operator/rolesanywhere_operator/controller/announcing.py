"""Events on bindings, posted beside the work that they tell of.

A status says more than the Event about it, so nobody waits for one, and one that fails is not
repeated. Never decides what is worth an Event: `reconcile` does.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from rolesanywhere_operator.controller.reconcile import Announcement
from rolesanywhere_operator.domain import events
from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import KubeError

log = logging.getLogger(__name__)

# Posts at a time. A transition that is told has cost a write of a status, of which there are more
# at a time, so that what waits here is never much more than there are bindings.
_POSTERS: Final = 2


class Client(Protocol):
    """What is needed of the API client."""

    async def request(self, method: str, path: str, *, body: Json | None = None) -> Json:
        """``method`` on ``path``. Raises `KubeError`."""
        ...


class Announcer:
    """Posts under the name ``reporter`` what it is told, once it runs."""

    def __init__(self, kube: Client, *, reporter: str, now: Callable[[], datetime]) -> None:
        self._kube = kube
        self._reporter = reporter
        self._now = now
        self._waiting: asyncio.Queue[Json] = asyncio.Queue()

    def tell(self, body: Mapping[str, Any], news: Announcement) -> None:
        """Have ``news`` of the binding ``body`` posted, dated now."""
        event = events.manifest(
            body,
            kind=news.type,
            reason=news.reason,
            message=news.message,
            now=self._now(),
            reporter=self._reporter,
        )
        self._waiting.put_nowait(event)

    async def run(self) -> None:
        """Post, for ever."""
        async with asyncio.TaskGroup() as posters:
            for _ in range(_POSTERS):
                posters.create_task(self._post_on())

    async def _post_on(self) -> None:
        while True:
            event = await self._waiting.get()
            about = event["involvedObject"]
            try:
                await self._kube.request(
                    "POST", f"/api/v1/namespaces/{about['namespace']}/events", body=event
                )
            except KubeError as problem:
                where = {"namespace": about["namespace"], "binding": about["name"]}
                fields = {**where, "code": problem.code, "problem": str(problem)}
                log.warning("event not posted", extra=fields)
