"""A session from IAM Roles Anywhere: load the identity, draft, sign, send, read.

Each request is signed with what is on disk now; when that is unusable, or the service refuses it,
an earlier identity that is still valid signs instead. Learns the service's time, and asks once
more where its own was too far off. Never retries otherwise and never holds credentials: that is
the broker's.
"""

import logging
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.clock import LARGEST_SKEW, Skew
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.failures import AccessDenied
from rolesanywhere_sidecar.identities.identity import (
    CertificateExpired,
    CertificateNotYetValid,
    Identity,
    check,
    warnings,
)
from rolesanywhere_sidecar.identities.keys import SigningKey
from rolesanywhere_sidecar.renewal import pacing
from rolesanywhere_sidecar.service import sessions
from rolesanywhere_sidecar.service.sessions import TOLERATED_SKEW_SECONDS, Reply
from rolesanywhere_sidecar.service.transport import Transport

log = logging.getLogger(__name__)

_Pair = tuple[Identity, SigningKey]


class IdentitySource(Protocol):
    """Where the identity lives."""

    async def load(self) -> tuple[Identity, SigningKey]:
        """The identity as it is now. Raises `RolesAnywhereError`."""
        ...


def _random_id() -> str:
    return str(uuid.uuid4())


def _unmeasured(_: timedelta) -> None:
    """Nobody measures."""


class RolesAnywhere:
    """CreateSession as one of the identity's requests; close it in the end.

    ``env`` tells of proxies; ``now`` returns aware times by this machine's clock, which ``skew``
    sets right. ``measure`` hears how long each request took, answered or not.
    """

    def __init__(
        self,
        settings: Settings,
        identity_files: IdentitySource,
        *,
        now: Callable[[], datetime],
        env: Mapping[str, str],
        skew: Skew | None = None,
        new_id: Callable[[], str] = _random_id,
        measure: Callable[[timedelta], None] = _unmeasured,
    ) -> None:
        self._settings = settings
        self._files = identity_files
        self._machine_time = now
        self._skew = skew or Skew()
        self._new_id = new_id
        self._measure = measure
        self._transport = Transport(settings.service_url, ca_bundle=settings.ca_bundle, env=env)
        self._held: _Pair | None = None
        self._accepted: _Pair | None = None
        self._renewable_from: datetime | None = None
        self._unusable: RolesAnywhereError | None = None
        self._refused: AccessDenied | None = None
        self._assumed_role_arn = ""

    @property
    def identity(self) -> Identity | None:
        """The identity on disk when it was last usable; it signs, unless it is refused."""
        return self._held[0] if self._held else None

    @property
    def accepted(self) -> Identity | None:
        """The identity that the latest session was created with."""
        return self._accepted[0] if self._accepted else None

    @property
    def assumed_role_arn(self) -> str:
        """The ARN that AWS knows the latest session's owner by; empty before there is one."""
        return self._assumed_role_arn

    @property
    def last_problem(self) -> RolesAnywhereError | None:
        """Why the identity on disk is not the one in use; none once it is."""
        return self._unusable or self._refused

    @property
    def unsettled(self) -> bool:
        """Whether the service refuses the identity on disk, and an earlier one stands in."""
        return self._refused is not None

    async def create_session(self) -> Credentials:
        """A new session. Raises `failures.ServiceFailure`, or what `IdentitySource.load` and
        `identity.check` raise."""
        fresh = await self._usable()
        try:
            credentials = await self._ask(fresh)
        except AccessDenied as refusal:
            return await self._stand_in(fresh, refusal)
        self._refused = None
        return credentials

    async def load_identity(self) -> Identity:
        """The identity that would sign now. Raises what `create_session` does before it asks."""
        return (await self._usable())[0]

    def resume(self, kept: Credentials) -> None:
        """``kept`` was created by a process before this one, with the identity loaded last."""
        self._accepted = self._held
        self._renewable_from = _half_of(kept)

    async def close(self) -> None:
        """Close the connection to the service."""
        await self._transport.close()

    async def _ask(self, pair: _Pair) -> Credentials:
        """A session for ``pair``, which is known to be accepted then."""
        ahead = self._skew.seconds
        reply = await self._send(pair)
        if reply.status == 403 and abs(self._skew.seconds - ahead) > TOLERATED_SKEW_SECONDS:
            # What was refused is our clock, and now we know better.
            reply = await self._send(pair)
        if reply.status == 403:
            # Where the time was in doubt the service was asked nevertheless; we say it better.
            check(pair[0], at=self._now())
        credentials = sessions.read_reply(reply, self._settings, at=self._now())
        self._assumed_role_arn = sessions.assumed_role_of(reply)
        self._accepted = pair
        self._renewable_from = _half_of(credentials)
        return credentials

    async def _send(self, pair: _Pair) -> Reply:
        identity, key = pair
        draft = sessions.draft(
            self._settings,
            identity,
            key_kind=key.kind,
            invocation_id=self._new_id(),
            at=self._now(),
        )
        request = draft.signed_with(await key.sign(draft.payload))
        sent = self._machine_time()
        try:
            reply = await self._transport.post(request)
        finally:
            received = self._machine_time()
            self._measure(received - sent)
        if theirs := sessions.date_of(reply):
            self._skew.learn(theirs, sent=sent, received=received)
        return reply

    async def _stand_in(self, fresh: _Pair, refusal: AccessDenied) -> Credentials:
        """A session for the identity before the one that was refused. Raises ``refusal`` where
        there is none, where it fails as well, and while the session that it gave is young."""
        earlier, at = self._accepted, self._now()
        if earlier is None or earlier[0].leaf == fresh[0].leaf or not _passes(earlier[0], at=at):
            raise refusal
        if self._renewable_from is not None and at < self._renewable_from:
            raise refusal
        try:
            credentials = await self._ask(earlier)
        except RolesAnywhereError:
            # Not its problem: what is to be mended is that the identity on disk is refused.
            raise refusal from None
        self._refused = refusal
        _tell_kept(earlier[0], refusal)
        return credentials

    def _now(self) -> datetime:
        return self._skew.correct(self._machine_time())

    async def _usable(self) -> _Pair:
        """What is on disk, or else what was there, if the service would still take it."""
        at = self._now()
        try:
            fresh = await self._files.load()
            self._check(fresh[0], at=at)
        except RolesAnywhereError as problem:
            self._unusable = problem
            if self._held is None or not _passes(self._held[0], at=at):
                raise
            _tell_kept(self._held[0], problem)
            return self._held
        self._unusable = None
        self._adopt(fresh, at=at)
        return fresh

    def _check(self, identity: Identity, *, at: datetime) -> None:
        """Raises what `identity.check` does, but not for what may be a wrong clock's doing.

        Until the service has told the time, no certificate is refused that a correction can save:
        without a request there would never be one.
        """
        try:
            check(identity, at=at)
        except (CertificateExpired, CertificateNotYetValid):
            doubtful = not self._skew.known and (
                identity.not_before - LARGEST_SKEW < at < identity.not_after + LARGEST_SKEW
            )
            if not doubtful:
                raise

    def _adopt(self, fresh: _Pair, *, at: datetime) -> None:
        if self._held is None or self._held[0].leaf != fresh[0].leaf:
            log.info("identity loaded", extra={"identity": str(fresh[0])})
            for sentence in warnings(fresh[0], at=at):
                log.warning("identity questionable", extra={"problem": sentence})
        self._held = fresh


def _half_of(credentials: Credentials) -> datetime:
    life = credentials.expires - credentials.issued
    return credentials.issued + life * pacing.RENEW_FROM


def _tell_kept(earlier: Identity, problem: RolesAnywhereError) -> None:
    extra = {"code": problem.code, "problem": str(problem), "identity": str(earlier)}
    log.warning("earlier identity kept", extra=extra)


def _passes(identity: Identity, *, at: datetime) -> bool:
    try:
        check(identity, at=at)
    except RolesAnywhereError:
        return False
    return True
