"""A session from IAM Roles Anywhere: load the identity, draft, sign, send, read.

Each request is signed with what is on disk now; when that is unusable, an earlier identity that is
still valid signs instead. Never retries and never holds credentials: that is the broker's.
"""

import logging
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import sessions
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.identity import Identity, check, warnings
from rolesanywhere_sidecar.keys import SigningKey
from rolesanywhere_sidecar.transport import Transport

log = logging.getLogger(__name__)


class IdentitySource(Protocol):
    """Where the identity lives."""

    async def load(self) -> tuple[Identity, SigningKey]:
        """The identity as it is now. Raises `RolesAnywhereError`."""
        ...


def _random_id() -> str:
    return str(uuid.uuid4())


class RolesAnywhere:
    """CreateSession as one of the identity's requests; close it in the end.

    ``env`` tells of proxies; ``now`` returns aware times.
    """

    def __init__(
        self,
        settings: Settings,
        identity_files: IdentitySource,
        *,
        now: Callable[[], datetime],
        env: Mapping[str, str],
        new_id: Callable[[], str] = _random_id,
    ) -> None:
        self._settings = settings
        self._files = identity_files
        self._now = now
        self._new_id = new_id
        self._transport = Transport(settings.service_url, ca_bundle=settings.ca_bundle, env=env)
        self._held: tuple[Identity, SigningKey] | None = None
        self._problem: RolesAnywhereError | None = None

    @property
    def identity(self) -> Identity | None:
        """The identity that signed last."""
        return self._held[0] if self._held else None

    @property
    def last_problem(self) -> RolesAnywhereError | None:
        """Why the identity on disk is not the one in use; none once it is."""
        return self._problem

    async def create_session(self) -> Credentials:
        """A new session. Raises `failures.ServiceFailure`, or what `IdentitySource.load` and
        `identity.check` raise."""
        identity, key = await self._usable()
        draft = sessions.draft(
            self._settings,
            identity,
            key_kind=key.kind,
            invocation_id=self._new_id(),
            at=self._now(),
        )
        signature = await key.sign(draft.payload)
        reply = await self._transport.post(draft.signed_with(signature))
        return sessions.read_reply(reply, self._settings, at=self._now())

    async def close(self) -> None:
        """Close the connection to the service."""
        await self._transport.close()

    async def _usable(self) -> tuple[Identity, SigningKey]:
        """What is on disk, or else what was there, if the service would still take it."""
        at = self._now()
        try:
            fresh = await self._files.load()
            check(fresh[0], at=at)
        except RolesAnywhereError as problem:
            self._problem = problem
            if self._held is None or not _passes(self._held[0], at=at):
                raise
            log.warning(
                "earlier identity kept",
                extra={
                    "code": problem.code,
                    "problem": str(problem),
                    "identity": str(self._held[0]),
                },
            )
            return self._held
        self._problem = None
        self._adopt(fresh, at=at)
        return fresh

    def _adopt(self, fresh: tuple[Identity, SigningKey], *, at: datetime) -> None:
        if self._held is None or self._held[0].leaf != fresh[0].leaf:
            log.info("identity loaded", extra={"identity": str(fresh[0])})
            for sentence in warnings(fresh[0], at=at):
                log.warning("identity questionable", extra={"problem": sentence})
        self._held = fresh


def _passes(identity: Identity, *, at: datetime) -> bool:
    try:
        check(identity, at=at)
    except RolesAnywhereError:
        return False
    return True
