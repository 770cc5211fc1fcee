"""Keeps ``status.pods`` of every binding true: counts again whenever a pod or a binding changes.

Pods are followed by two watches of metadata alone, so that no spec of a pod ever enters this
process: those that are not over, and of these the ones that run. A kubelet says that a pod runs
when its sidecars have passed their startup probes, which ours does with its first session. Never
writes a count twice, nor more than one a second to one binding, nor before the first conditions.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, Protocol

from rolesanywhere_contract.names import (
    API_VERSION,
    BINDING_LABEL,
    INJECTED_ANNOTATION,
    PLURAL,
)
from rolesanywhere_operator.domain import census
from rolesanywhere_operator.domain.census import Count, Counted, Injected, Key
from rolesanywhere_operator.kube import paging
from rolesanywhere_operator.kube.client import MERGE_PATCH, Json
from rolesanywhere_operator.kube.errors import KubeError, NotFound
from rolesanywhere_operator.kube.paging import Metadata, Selection
from rolesanywhere_operator.kube.reflector import Chance, Reflector

log = logging.getLogger(__name__)

PODS: Final = "/api/v1/pods"
BINDINGS: Final = f"/apis/{API_VERSION}/{PLURAL}"
INJECTED: Final = Selection(BINDING_LABEL, "status.phase!=Succeeded,status.phase!=Failed")
RUNNING: Final = Selection(BINDING_LABEL, "status.phase=Running")

# Between two rounds of writes, so that a rollout of a thousand pods is a few writes.
REST_SECONDS: Final = 1.0
# After failures the rest doubles up to this.
LONGEST_REST_SECONDS: Final = 60.0
# Writes at a time: other clients want something of the API server, too.
AT_ONCE: Final = 8


class Client(paging.Client, Protocol):
    """What the census needs of the API client."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json,
        query: Mapping[str, str],
        content_type: str,
    ) -> Json:
        """``method`` on ``path``. Raises `KubeError`."""
        ...


class Census:
    """The pods of every binding, as last heard."""

    def __init__(self, client: Client, *, chance: Chance) -> None:
        self._client = client
        self._chance = chance
        self._changed = asyncio.Event()
        told = self._changed.set
        annotations = frozenset({INJECTED_ANNOTATION})
        injected = Metadata(client, INJECTED, annotations=annotations, changed=told)
        running = Metadata(client, RUNNING, changed=told)
        self._injected: Reflector[Injected | None] = Reflector(
            injected, PODS, read=census.read_pod, chance=chance
        )
        self._running = Reflector(running, PODS, read=census.uid, chance=chance)
        self._bindings = Reflector(client, BINDINGS, read=self._read_binding, chance=chance)
        # What was written, over which version of the binding.
        self._written: dict[Key, tuple[str, Count]] = {}
        self._counts: Mapping[Key, Count] = {}

    @property
    def counts(self) -> Mapping[Key, Count]:
        """The pods of each binding, by namespace and name; empty until all has been listed."""
        return self._counts

    async def run(self) -> None:
        """Follow, count and write, for ever; failures are logged and retried."""
        async with asyncio.TaskGroup() as together:
            for followed in (self._injected, self._running, self._bindings):
                together.create_task(followed.run())
            together.create_task(self._keep_writing())

    def _read_binding(self, body: Json) -> Counted:
        self._changed.set()
        return census.read_binding(body)

    async def _keep_writing(self) -> None:
        rest = REST_SECONDS
        while True:
            await self._changed.wait()
            self._changed.clear()
            if await self._settle():
                rest = REST_SECONDS
            else:
                self._changed.set()
                rest = min(2 * rest, LONGEST_REST_SECONDS)
            await self._chance.sleep(rest)

    async def _settle(self) -> bool:
        """Count, and write what differs; False when something could not be written."""
        # A count of half the pods is worse than an old one.
        if not (self._injected.synced and self._running.synced and self._bindings.synced):
            return True
        bindings = dict(self._bindings)
        self._counts = census.tally(self._injected, dict(self._running), bindings)
        self._written = {key: made for key, made in self._written.items() if key in bindings}
        due = [
            key
            for key, one in bindings.items()
            # Who judges a binding for the first time writes over the version that it has judged:
            # two that write at once would cost a third write. The watch brings it back here.
            if one.judged and self._counts[key] != self._said(key, one)
        ]
        settled = True
        for first in range(0, len(due), AT_ONCE):
            writes = (self._write(key, bindings[key]) for key in due[first : first + AT_ONCE])
            settled &= all(await asyncio.gather(*writes))
        return settled

    def _said(self, key: Key, binding: Counted) -> Count | None:
        """What the status says, or will when the watch has caught up with our own write."""
        version, count = self._written.get(key, ("", None))
        return count if version == binding.version else binding.said

    async def _write(self, key: Key, binding: Counted) -> bool:
        namespace, name = key
        count = self._counts[key]
        try:
            # This field alone, whoever writes the rest of the status meanwhile.
            await self._client.request(
                "PATCH",
                f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}/{name}/status",
                body={"status": {"pods": count.status()}},
                query={"fieldManager": "rolesanywhere-census"},
                content_type=MERGE_PATCH,
            )
        except NotFound:  # gone, as the watch is about to say
            return True
        except KubeError as problem:
            where = {"namespace": namespace, "binding": name}
            fields = {**where, "code": problem.code, "problem": str(problem)}
            log.warning("cannot write how many pods a binding has", extra=fields)
            return False
        self._written[key] = (binding.version, count)
        return True
