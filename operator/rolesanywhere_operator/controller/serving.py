"""Keeps the webhook's serving certificate: a Secret of one name, one webhook configuration.

The leader looks again every few seconds, because it may read that one Secret but watch none; so a
Secret that was deleted and a configuration that was overwritten are mended in seconds. What is to
be done, `authorities` says. Never gives the webhook the authority's key: the chart shows it the
leaf alone.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn, Protocol

from rolesanywhere_operator.controller import minting, whoami
from rolesanywhere_operator.controller.kept import (
    AUTHORITIES,
    AUTHORITY_KEY,
    CERTIFICATE,
    PRIVATE_KEY,
    Seen,
)
from rolesanywhere_operator.controller.minting import Pair
from rolesanywhere_operator.domain import authorities
from rolesanywhere_operator.domain.authorities import (
    Certificate,
    Found,
    NewAuthority,
    NewLeaf,
    Step,
    Trust,
)
from rolesanywhere_operator.domain.untyped import items, mapping
from rolesanywhere_operator.kube.client import APPLY_PATCH, MERGE_PATCH, Json
from rolesanywhere_operator.kube.errors import Conflict, KubeError, NotFound
from rolesanywhere_operator.settings import ControllerSettings

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0

_OWNER: Final = {"fieldManager": "rolesanywhere-controller", "force": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where it is kept, and the ``hosts`` (DNS names, IP addresses) that API servers call.

    The Secret goes when ``owner`` does, if there is one: with the release.
    """

    namespace: str
    secret: str
    configuration: str
    hosts: frozenset[str]
    owner: Json | None = None

    @property
    def secret_path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets/{self.secret}"

    @property
    def configuration_path(self) -> str:
        kind = "mutatingwebhookconfigurations"
        return f"/apis/admissionregistration.k8s.io/v1/{kind}/{self.configuration}"


class Objects(Protocol):
    """What this needs of the API client."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = ...,
    ) -> Json:
        """The JSON that the server answers. Raises `KubeError`."""
        ...


class CertificateKeeper:
    """One leader's care; ``now`` returns aware times, ``clock`` steady seconds."""

    def __init__(
        self,
        objects: Objects,
        place: Place,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._objects = objects
        self._place = place
        self._now = now
        self._clock = clock
        self._sleep = sleep
        # Since when which authority has been seen in the configuration without a break. It begins
        # anew with every leader: what nobody watched does not count.
        self._trusted: tuple[Certificate, float] | None = None
        self._told = ""

    async def run(self) -> NoReturn:
        """Look for ever; what fails is logged and tried again."""
        while True:
            try:
                while await self.look():
                    pass
                self._told = ""
            except Conflict:
                pass  # Somebody else wrote meanwhile: the next look sees what.
            except Exception as problem:
                # Also a mistake of ours: what is served stays good for days, in which it is seen.
                self._tell(problem)
            await self._sleep(LOOK_SECONDS)

    async def look(self) -> bool:
        """Take the next step, if there is one; whether there was. Raises `KubeError`."""
        seen = Seen(
            secret=await self._secret(),
            configuration=await self._objects.request("GET", self._place.configuration_path),
        )
        found = seen.found()
        step = authorities.next_step(
            found, hosts=self._place.hosts, at=self._now(), trusted_for=self._trusted_for(found)
        )
        if step is None:
            return False
        await self._take(step, found, seen)
        log.info("webhook certificate kept", extra={"step": type(step).__name__})
        return True

    async def _take(self, step: Step, found: Found, seen: Seen) -> None:
        now = self._now()
        match step:
            case NewAuthority(others):
                # Its key takes the place of the old one's, which has signed its last.
                fresh = _authority(minting.new_authority(now=now), others)
                await self._write_secret(seen.held | fresh, over=seen.secret)
            case NewLeaf(others, ends) if found.authority is not None:
                authority = Pair(found.authority, seen.held[AUTHORITY_KEY])
                leaf = minting.new_leaf(authority, hosts=self._place.hosts, now=now, ends=ends)
                pair = {CERTIFICATE: leaf.certificate.pem, PRIVATE_KEY: leaf.private_key}
                await self._write_secret(_authority(authority, others) | pair, over=seen.secret)
            case Trust(bundle):
                await self._write_bundle(bundle, over=seen.configuration)

    def _tell(self, problem: Exception) -> None:
        """Once, however often the same thing fails."""
        code = problem.code if isinstance(problem, KubeError) else type(problem).__name__
        if str(problem) != self._told:
            log.warning(
                "cannot keep the webhook's certificate",
                extra={"code": code, "problem": str(problem)},
                exc_info=None if isinstance(problem, KubeError) else problem,
            )
        self._told = str(problem)

    async def _secret(self) -> Json:
        """The Secret, or an empty object while there is none."""
        try:
            return await self._objects.request("GET", self._place.secret_path)
        except NotFound:
            return {}

    async def _write_secret(self, held: Mapping[str, str], *, over: Json) -> None:
        """Server-side apply: unlike POST it has a name when it creates, as RBAC needs it."""
        metadata: Json = {"name": self._place.secret, "namespace": self._place.namespace}
        if self._place.owner is not None:
            metadata["ownerReferences"] = [self._place.owner]
        if version := mapping(over.get("metadata")).get("resourceVersion"):
            metadata["resourceVersion"] = version
        data = {name: base64.b64encode(text.encode()).decode() for name, text in held.items()}
        await self._objects.request(
            "PATCH",
            self._place.secret_path,
            query=_OWNER,
            body={"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data},
            content_type=APPLY_PATCH,
        )

    async def _write_bundle(self, bundle: str, *, over: Json) -> None:
        encoded = base64.b64encode(bundle.encode()).decode()
        webhooks = [
            {**one, "clientConfig": {**mapping(one.get("clientConfig")), "caBundle": encoded}}
            for one in items(over.get("webhooks"))
        ]
        version = mapping(over.get("metadata")).get("resourceVersion")
        await self._objects.request(
            "PATCH",
            self._place.configuration_path,
            body={"metadata": {"resourceVersion": version}, "webhooks": webhooks},
            content_type=MERGE_PATCH,
        )

    def _trusted_for(self, found: Found) -> timedelta:
        if found.authority is None or not authorities.is_trusted(found):
            self._trusted = None
            return timedelta()
        if self._trusted is None or self._trusted[0] != found.authority:
            self._trusted = (found.authority, self._clock())
        return timedelta(seconds=self._clock() - self._trusted[1])


@asynccontextmanager
async def keeping(
    objects: Objects,
    settings: ControllerSettings,
    *,
    now: Callable[[], datetime],
    clock: Callable[[], float],
) -> AsyncIterator[None]:
    """Keep the certificate for the length of the block, if ``settings`` leave it to us."""
    secret, configuration = settings.webhook_secret, settings.webhook_configuration
    if secret is None or configuration is None or settings.webhook_hosts is None:
        yield
        return
    place = Place(
        namespace=settings.namespace,
        secret=secret,
        configuration=configuration,
        hosts=settings.webhook_hosts,
        owner=await whoami.owner(objects, namespace=settings.namespace),
    )
    task = asyncio.create_task(CertificateKeeper(objects, place, now=now, clock=clock).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def _authority(made: Pair, others: Iterable[Certificate]) -> dict[str, str]:
    bundle = "".join(one.pem for one in (made.certificate, *others))
    return {AUTHORITIES: bundle, AUTHORITY_KEY: made.private_key}
