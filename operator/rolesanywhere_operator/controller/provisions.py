"""Whether the cluster has what a kind of identity needs: asked once for all bindings, and again.

What cannot be found out is not doubted. Never watches: drivers come and go once a year, and a
watch would be a connection for each.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from urllib.parse import quote
from weakref import WeakValueDictionary

from rolesanywhere_operator.domain import bindings, podsecurity, prerequisites
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.domain.conditions import Reason
from rolesanywhere_operator.domain.identities import Identity
from rolesanywhere_operator.domain.issuance import Obstacle
from rolesanywhere_operator.domain.prerequisites import Driver, PodCertificates, Prerequisite
from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import Forbidden, NotFound

log = logging.getLogger(__name__)

# How old an answer may be: at most so late it is seen that something has come, or has gone.
ABSENCE: Final = timedelta(seconds=10)
PRESENCE: Final = timedelta(minutes=5)

_DRIVERS: Final = "/apis/storage.k8s.io/v1/csidrivers"
_GROUP: Final = f"/apis/{prerequisites.POD_CERTIFICATES_GROUP}"


class Client(Protocol):
    """What is needed of the API client."""

    async def get(self, path: str, *, query: Mapping[str, str] | None = None) -> Json:
        """GET ``path``. Raises `KubeError`."""
        ...


@dataclass(frozen=True, slots=True)
class _Answer:
    obstacle: Obstacle | None
    at: datetime

    def is_fresh(self, now: datetime) -> bool:
        return abs(now - self.at) < (PRESENCE if self.obstacle is None else ABSENCE)


class Provisions:
    """What was found out of the cluster, and when.

    An answer is forgotten once it is too old, so that names which no binding has any more go.
    """

    def __init__(self, kube: Client, *, now: Callable[[], datetime]) -> None:
        self._kube = kube
        self._now = now
        self._known: dict[Prerequisite, _Answer] = {}
        # Many bindings that need the same ask once. A lock stays for as long as somebody holds it.
        self._asking: WeakValueDictionary[Prerequisite, asyncio.Lock] = WeakValueDictionary()

    @property
    def size(self) -> int:
        """How many answers are kept, and how many are waited for."""
        return len(self._known) + len(self._asking)

    async def obstacle(self, identity: Identity) -> Obstacle | None:
        """What ``identity`` lacks in this cluster. Raises `KubeError` worth another try."""
        needed = prerequisites.of(identity)
        if needed is None:
            return None
        async with self._asking.setdefault(needed, asyncio.Lock()):
            known = self._known.get(needed)
            if known is None or not known.is_fresh(self._now()):
                known = _Answer(await self._asked(needed), self._now())
                self._keep(needed, known)
        return known.obstacle

    async def pod_security(self, binding: Binding) -> Obstacle | None:
        """What keeps ``binding``'s folders of the node from pods. Raises `KubeError` likewise."""
        if not bindings.folders(binding):
            return None
        try:
            found = await self._kube.get(f"/api/v1/namespaces/{binding.namespace}")
        except (Forbidden, NotFound) as problem:
            fields = {"code": problem.code, "problem": str(problem)}
            log.warning("cannot see what a namespace forbids", extra=fields)
            return None
        forbidden = podsecurity.forbids(binding, podsecurity.level(found))
        if forbidden is None:
            return None
        return Obstacle(Reason.POD_SECURITY_FORBIDS, str(forbidden))

    def _keep(self, needed: Prerequisite, answer: _Answer) -> None:
        fresh = {one: known for one, known in self._known.items() if known.is_fresh(answer.at)}
        self._known = fresh | {needed: answer}

    async def _asked(self, needed: Prerequisite) -> Obstacle | None:
        try:
            match needed:
                case Driver(name):
                    return prerequisites.driver(name, await self._driver(name))
                case PodCertificates():
                    return prerequisites.pod_certificates(await self._resources())
        except Forbidden as problem:
            fields = {"code": problem.code, "problem": str(problem)}
            log.warning("cannot see what an identity needs", extra=fields)
            return None

    async def _driver(self, name: str) -> Json | None:
        try:
            return await self._kube.get(f"{_DRIVERS}/{quote(name, safe='')}")
        except NotFound:
            return None

    async def _resources(self) -> frozenset[str]:
        """What the group serves, in any of its versions; an API server may serve none of it."""
        found: set[str] = set()
        with suppress(NotFound):
            group = await self._kube.get(_GROUP)
            for one in group.get("versions") or ():
                listed = await self._kube.get(f"{_GROUP}/{one['version']}")
                found.update(str(resource["name"]) for resource in listed.get("resources") or ())
        return frozenset(found)
