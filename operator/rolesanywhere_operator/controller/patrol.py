"""Looks for pods that ask for credentials and went without, and tells their owners once.

Annotations cannot be selected, so that this reads the metadata of every pod that lacks our label,
page by page, every few minutes; a watch would be a message for each change of each of them. Never
touches a pod: whether to delete it is its owner's decision.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final, NoReturn, Protocol

from rolesanywhere_contract.names import BINDING_LABEL
from rolesanywhere_operator.domain import stragglers
from rolesanywhere_operator.domain.stragglers import Group, Object
from rolesanywhere_operator.kube import paging
from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import Conflict, KubeError
from rolesanywhere_operator.kube.paging import Selection
from rolesanywhere_operator.kube.reflector import Chance

log = logging.getLogger(__name__)

PODS: Final = "/api/v1/pods"
UNLABELLED: Final = Selection(f"!{BINDING_LABEL}", "status.phase!=Succeeded,status.phase!=Failed")
ROUND_SECONDS: Final = 300.0
# What a round tells at most; the next one goes on. A webhook that was missing when a whole cluster
# came up is no reason for a storm.
MOST_EVENTS: Final = 100


class Client(paging.Client, Protocol):
    """What the patrol needs of the API client."""

    async def request(self, method: str, path: str, *, body: Json) -> Json:
        """``method`` on ``path``. Raises `KubeError`."""
        ...


class Patrol:
    """Makes rounds, and remembers whom it has told. ``now`` is the time of day in UTC.

    ``reporter`` is the name under which it posts Events.
    """

    def __init__(
        self,
        client: Client,
        *,
        chance: Chance,
        now: Callable[[], datetime],
        reporter: str,
    ) -> None:
        self._client = client
        self._chance = chance
        self._now = now
        self._reporter = reporter
        self._told: set[Object] = set()
        self._found: int | None = None

    @property
    def found(self) -> int | None:
        """How many pods the last round found without a sidecar; None before the first."""
        return self._found

    async def run(self) -> NoReturn:
        """Make rounds, for ever; a failed one is logged, and the next one comes in its time."""
        while True:
            try:
                await self._round()
            except KubeError as problem:
                fields = {"code": problem.code, "problem": str(problem)}
                log.warning("cannot look for pods without a sidecar", extra=fields)
            await self._chance.sleep(ROUND_SECONDS * (1 + self._chance.draw() / 4))

    async def _round(self) -> None:
        found: list[stragglers.Straggler] = []
        async for page in paging.pages(self._client, PODS, UNLABELLED):
            read = map(stragglers.read, page.get("items") or ())
            found += [pod for pod in read if pod is not None]
        groups = stragglers.grouped(found)
        self._found = len(found)
        # Whose pods are all well again is told anew should it happen again.
        self._told &= groups.keys()
        news = [group for subject, group in groups.items() if subject not in self._told]
        for group in news[:MOST_EVENTS]:
            if await self._tell(group):
                self._told.add(group.subject)

    async def _tell(self, group: Group) -> bool:
        """Post the Event. One namespace's refusal, say because it is being deleted, is not all's.

        Raises `KubeError` where there is no point in going on.
        """
        namespace = group.subject.namespace
        event = stragglers.event(group, now=self._now(), reporter=self._reporter)
        try:
            await self._client.request("POST", f"/api/v1/namespaces/{namespace}/events", body=event)
        except Conflict:  # told already, by the leader before us
            return True
        except KubeError as problem:
            if problem.retryable:
                raise
            fields = {"namespace": namespace, "code": problem.code, "problem": str(problem)}
            log.warning("cannot tell of pods without a sidecar", extra=fields)
            return False
        log.warning(
            "pods without a sidecar",
            extra={
                "namespace": namespace,
                "owner": f"{group.subject.kind}/{group.subject.name}",
                "pods": group.size,
                "reason": stragglers.REASON,
            },
        )
        return True
