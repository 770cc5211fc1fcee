"""Keeps bindings true: what each asks for is asked for, and its status says what came of it.

A look begins with what the binding and its Certificate are now, whatever has happened to them, and
writes only what differs: after a restart, nothing. Never decides: `reconcile` judges, `rounds` says
when.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from rolesanywhere_contract.names import API_VERSION, PLURAL
from rolesanywhere_operator.controller import reconcile
from rolesanywhere_operator.controller.announcing import Announcer
from rolesanywhere_operator.controller.certificates import Certificates, Client
from rolesanywhere_operator.controller.provisions import ABSENCE, Provisions
from rolesanywhere_operator.controller.requests import Requests
from rolesanywhere_operator.controller.rounds import Key, Rounds, uncounted
from rolesanywhere_operator.domain import bindings, certificates
from rolesanywhere_operator.domain.bindings import Binding, Entry
from rolesanywhere_operator.domain.identities import PerBindingIdentity
from rolesanywhere_operator.domain.issuance import Issuance, Obstacle
from rolesanywhere_operator.kube.client import MERGE_PATCH, Json
from rolesanywhere_operator.kube.errors import NotFound
from rolesanywhere_operator.kube.reflector import Chance

log = logging.getLogger(__name__)

# How often to look though nothing has changed: a certificate expires without an event. Costs no
# call on the API server where nothing differs.
_REST_SECONDS: Final = 600.0
# Others' objects stand in the way, which no watch of ours shows, or an answer that may change.
_OBSTACLE_SECONDS: Final = 60.0


class Keeper:
    """Every binding of the cluster, as last seen. ``reporter`` is this process, in its Events.

    ``looked`` is told of each look's end: a failure's code, or nothing.
    """

    def __init__(
        self, kube: Client, *, reporter: str, now: Callable[[], datetime], chance: Chance,
        trust_domain: str, host_paths: frozenset[str] = frozenset(),
        looked: Callable[[str], None] = uncounted,
    ) -> None:  # fmt: skip
        self._kube = kube
        self._now = now
        self._chance = chance
        self._read = partial(bindings.read, trust_domain=trust_domain, host_paths=host_paths)
        self._bodies: dict[Key, Json] = {}
        self._rounds = Rounds(self._look, chance=chance, looked=looked)
        self._certificates = Certificates(kube, chance=chance, changed=self._mark)
        self._announcer = Announcer(kube, reporter=reporter, now=now)
        self._requests = Requests(kube)
        self._provisions = Provisions(kube, now=now)

    def saw(self, body: Json) -> None:
        """A binding is there, and as ``body`` says."""
        key = _key(body)
        self._bodies[key] = body
        self._rounds.mark(key)

    def lost(self, body: Json) -> None:
        """A binding is gone, and what it asked for goes with it, by owner reference."""
        held = self._bodies.get(_key(body))
        if held is not None and held["metadata"]["uid"] == body["metadata"]["uid"]:
            del self._bodies[_key(body)]
            self._requests.forget(_key(body))

    def bodies(self) -> Collection[Json]:
        """What there is, each as the API server holds it."""
        return self._bodies.values()

    async def run(self) -> None:
        """Keep what was seen true, for ever."""
        async with asyncio.TaskGroup() as together:
            together.create_task(self._certificates.run())
            together.create_task(self._announcer.run())
            together.create_task(self._rounds.run())

    def _mark(self, key: Key | None) -> None:
        for one in self._bodies if key is None else {key} & self._bodies.keys():
            self._rounds.mark(one)

    async def _look(self, key: Key) -> float | None:
        body = self._bodies.get(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return None
        entry = self._read(body)
        if _asks_for_a_certificate(entry) and not self._certificates.synced:
            # The first list marks everything.
            return None
        try:
            issued = await self._issuance(body, entry)
            leaf = await self._requests.leaf(key, issued)
            status = reconcile.judge(body, entry, now=self._now(), issued=issued, leaf=leaf)
            await self._write(body, status)
        except _Vanished:
            self.lost(body)
            return None
        return _rest_seconds(entry, issued) * (1 + self._chance.draw() / 2)

    async def _issuance(self, body: Json, entry: Entry) -> Issuance | None:
        """What has come of what the binding asks for; None where there is nothing to be seen.

        A binding that makes no sense keeps what it had.
        """
        if not isinstance(entry, Binding):
            return None
        uid = body["metadata"]["uid"]
        if not isinstance(entry.identity, PerBindingIdentity):
            await self._certificates.remove(_key(body), uid=uid, but=None)
            lacking = await self._provisions.obstacle(entry.identity)
            return lacking or await self._provisions.pod_security(entry)
        asked = certificates.manifest(entry, entry.identity, uid=uid)
        if self._certificates.would_make(asked):
            await self._see_that_it_lives(body)
        await self._certificates.remove(_key(body), uid=uid, but=entry.identity.name)
        return await self._certificates.ensure(asked, uid=uid)

    async def _see_that_it_lives(self, body: Json) -> None:
        """A watch can miss a deletion, and what is made for the dead is soon collected."""
        try:
            found = await self._kube.get(_path(body))
        except NotFound as gone:
            raise _Vanished from gone
        if found["metadata"]["uid"] != body["metadata"]["uid"]:
            raise _Vanished

    async def _write(self, body: Json, status: Json) -> None:
        changes = reconcile.changes(body, status)
        if not changes:
            return
        # The version is a condition: what was judged must be what is written to.
        patch = {
            "metadata": {"resourceVersion": body["metadata"]["resourceVersion"]},
            "status": changes,
        }
        path = f"{_path(body)}/status"
        try:
            written = await self._kube.request("PATCH", path, body=patch, content_type=MERGE_PATCH)
        except NotFound as gone:
            raise _Vanished from gone
        if self._bodies.get(_key(body)) is body:
            self._bodies[_key(body)] = written
        self._announce(body, status)

    def _announce(self, body: Json, status: Json) -> None:
        news = reconcile.announcement(body, status)
        if news is not None:
            namespace, name = _key(body)
            where = {"namespace": namespace, "binding": name}
            log.info("binding judged", extra={**where, "reason": news.reason})
            self._announcer.tell(body, news)


class _Vanished(Exception):
    """The binding is not there any more."""


def _asks_for_a_certificate(entry: Entry) -> bool:
    return isinstance(entry, Binding) and isinstance(entry.identity, PerBindingIdentity)


def _rest_seconds(entry: Entry, issued: Issuance | None) -> float:
    """How long to leave alone what nothing tells us of."""
    if not isinstance(issued, Obstacle):
        return _REST_SECONDS
    # What a cluster lacks is asked for once for all bindings.
    return _OBSTACLE_SECONDS if _asks_for_a_certificate(entry) else ABSENCE.total_seconds()


def _key(body: Mapping[str, Any]) -> Key:
    metadata = body["metadata"]
    return metadata["namespace"], metadata["name"]


def _path(body: Mapping[str, Any]) -> str:
    namespace, name = _key(body)
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}/{name}"
