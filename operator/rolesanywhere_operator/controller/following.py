"""Our Certificates as the API server has them, followed with patience: cert-manager may come later.

Nothing here fails for its absence, or for a permission that is missing: that is an obstacle, which
is told and looked at again.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Protocol

from rolesanywhere_contract.names import BINDING_LABEL
from rolesanywhere_operator.domain.certificates import CERT_MANAGER_API_VERSION
from rolesanywhere_operator.domain.conditions import Reason
from rolesanywhere_operator.domain.issuance import Obstacle
from rolesanywhere_operator.domain.untyped import mapping
from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import Forbidden, NotFound
from rolesanywhere_operator.kube.reflector import Chance

log = logging.getLogger(__name__)

API: Final = f"/apis/{CERT_MANAGER_API_VERSION}"
_OURS: Final = {"labelSelector": BINDING_LABEL}
# How often to see whether cert-manager has come; at most so late it is picked up.
ABSENCE_SECONDS: Final = 10.0

_ABSENT: Final = Obstacle(
    Reason.CERT_MANAGER_MISSING,
    "cert-manager is not installed in this cluster (the API server does not know"
    f" {CERT_MANAGER_API_VERSION}); install it, or use another kind of identity. It is picked up"
    " once it is there.",
)


class Client(Protocol):
    """What is needed of the API client."""

    async def get(self, path: str, *, query: Mapping[str, str] | None = None) -> Json:
        """GET ``path``."""
        ...

    def watch(
        self,
        path: str,
        *,
        resource_version: str,
        seconds: int,
        query: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Json]:
        """The events of ``path`` after ``resource_version``."""
        ...


class PatientSource:
    """The API server for a reflector, which is kept waiting while there is no cert-manager.

    ``seen`` is told which Certificate has changed, None for any.
    """

    def __init__(
        self, kube: Client, chance: Chance, seen: Callable[[Mapping[str, Any] | None], None]
    ) -> None:
        self._kube = kube
        self._chance = chance
        self._seen = seen
        self.obstacle: Obstacle | None = None

    async def get(self, path: str) -> Json:
        while True:
            try:
                listed = await self._kube.get(path, query=_OURS)
            except NotFound:
                self._stand_before(_ABSENT)
            except Forbidden as problem:
                if problem.status != 403:
                    raise
                self._stand_before(Obstacle(Reason.CERTIFICATE_REFUSED, str(problem)))
            else:
                self.obstacle = None
                return listed
            await self._chance.sleep(ABSENCE_SECONDS)

    async def watch(self, path: str, *, resource_version: str, seconds: int) -> AsyncIterator[Json]:
        # By now the reflector holds what it listed, and below, the event that it was given.
        self._seen(None)
        async for event in self._kube.watch(
            path, resource_version=resource_version, seconds=seconds, query=_OURS
        ):
            yield event
            if event.get("type") != "BOOKMARK":
                self._seen(mapping(event.get("object")))

    def _stand_before(self, obstacle: Obstacle) -> None:
        if obstacle != self.obstacle:
            log.warning("no certificates", extra={"reason": obstacle.reason})
            self.obstacle = obstacle
            self._seen(None)
