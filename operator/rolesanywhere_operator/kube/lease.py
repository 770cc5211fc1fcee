"""At most one leader at a time, by a Kubernetes Lease.

Rule 1. The holder counts from the moment *before* it sent its last successful write, and stops at
``renew_deadline``. Rule 2. Everybody else counts from the moment *after* it first read that write,
and takes over at ``duration``, which is longer. So the holder is always done first, whatever the
clocks on the walls say: every span is measured on one machine's own steady clock, and the times
inside the Lease are for people. Rule 3. Every write names the version it replaces, so of two
writers one is refused.

Never stops anyone's work: it raises `LeaseLost`, and the caller ends the process.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NoReturn, Protocol, Self

from rolesanywhere_contract.errors import RolesAnywhereError

log = logging.getLogger(__name__)


class LeaseConflict(Exception):
    """The Lease changed since the version that a write wanted to replace."""


class LeaseLost(RolesAnywhereError):
    """This process may no longer act as the leader."""

    code = "LeaseLost"
    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The spans of an election, in seconds; the defaults are those of Kubernetes' own components.

    ``duration``: how long everybody else waits after the holder's last sign of life.
    ``renew_deadline``: how long the holder acts without having been able to renew.
    ``retry_period``: the pause between two attempts. ``call_timeout``: the longest single call.
    """

    duration: int = 15
    renew_deadline: float = 10.0
    retry_period: float = 2.0
    call_timeout: float = 3.0

    @classmethod
    def lasting(cls, seconds: int) -> Self:
        """Terms for a Lease of ``seconds``, in the proportions of the defaults."""
        share = seconds / 15
        return cls(
            duration=seconds,
            renew_deadline=10 * share,
            retry_period=2 * share,
            call_timeout=3 * share,
        )

    def __post_init__(self) -> None:
        """Raises ``ValueError`` where two could hold, or where one slow call is the end."""
        if not self.renew_deadline < self.duration:
            raise ValueError(f"renew_deadline must be below duration: {self}")
        if not 0 < self.retry_period + self.call_timeout < self.renew_deadline:
            raise ValueError(f"retry_period + call_timeout must be below renew_deadline: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a Lease says. No ``holder``: released; no ``version``: not on the server yet.

    The times are RFC 3339 with microseconds, and nobody here reads them.
    """

    holder: str = ""
    duration: int = 0
    acquired: str = ""
    renewed: str = ""
    transitions: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A record, and when on our own steady clock we first saw that version of it."""

    record: Record
    first_seen: float


def sighted(before: Sighting | None, record: Record, *, at: float) -> Sighting:
    """The waiting starts anew with every version: any write counts as a sign of life."""
    if before is not None and before.record.version == record.version:
        return before
    return Sighting(record, at)


def is_free(sighting: Sighting, *, me: str, at: float, terms: Terms) -> bool:
    """Whether ``me`` may take the Lease; the longer of its holder's duration and ours counts."""
    record = sighting.record
    if record.holder in {"", me}:
        return True
    return at - sighting.first_seen > max(record.duration, terms.duration)


def taken(record: Record, *, me: str, now: datetime, terms: Terms) -> Record:
    """The record to write so that ``me`` holds the Lease; ``now`` is the time of day."""
    today = micro_time(now)
    changes_hands = bool(record.version) and record.holder != me
    return replace(
        record,
        holder=me,
        duration=terms.duration,
        acquired=record.acquired if record.holder == me else today,
        renewed=today,
        transitions=record.transitions + changes_hands,
    )


def micro_time(moment: datetime) -> str:
    """The API's MicroTime always has six digits; ``isoformat`` drops them when they are zero."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class LeaseStore(Protocol):
    """One Lease, wherever it is kept. Calls may hang or raise anything; the elector bounds them."""

    async def read(self) -> Record | None:
        """What it says now, or None when there is none yet."""

    async def write(self, record: Record) -> Record:
        """Replace ``record.version`` (create without one). Raises `LeaseConflict` if it changed."""


class Elector:
    """One candidate: `acquire`, then `keep` beside the work, then `release`.

    ``clock`` is steady and in seconds, ``today`` is the time of day in UTC; ``identity`` must be
    unlike that of every other process, also of this one's own predecessor.
    """

    def __init__(
        self,
        store: LeaseStore,
        *,
        identity: str,
        terms: Terms,
        clock: Callable[[], float],
        today: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._identity = identity
        self._terms = terms
        self._clock = clock
        self._today = today
        self._sighting: Sighting | None = None
        self._held: Record | None = None
        self._may_hold = False
        self._deadline = 0.0

    @property
    def has_seen_the_lease(self) -> bool:
        """Whether a read has ever succeeded."""
        return self._sighting is not None

    async def acquire(self) -> None:
        """Return once the Lease is ours, however long that takes."""
        while True:
            if await self._tried("acquire", self._take):
                return
            await asyncio.sleep(self._terms.retry_period)

    async def keep(self) -> NoReturn:
        """Renew for as long as that works. Raises `LeaseLost` at the deadline, or when robbed."""
        while True:
            try:
                async with asyncio.timeout(self._deadline - self._clock()):
                    await asyncio.sleep(self._terms.retry_period)
                    await self._tried("renew", self._renew)
            except TimeoutError:
                self._lose(f"the Lease was not renewed for {self._terms.renew_deadline} seconds")

    async def release(self) -> None:
        """Give the Lease back, so that the next holder need not wait. Stop the work first.

        A failure is logged, not raised: the others then wait for the duration.
        """
        # Twice: a write that was cut off on its way may still arrive between read and write.
        for _ in range(2):
            if self._may_hold and await self._tried("release", self._give_back):
                self._may_hold = False

    async def _tried(self, doing: str, call: Callable[[], Awaitable[bool]]) -> bool:
        """What ``call`` answers; False when it fails, which is said and not raised."""
        try:
            return await call()
        except LeaseLost:
            raise
        except Exception as error:
            # Whatever the API, the network or a proxy came up with: the next attempt may succeed,
            # and the deadline decides.
            reason = f"{type(error).__name__}: {error}"
            log.warning("lease call failed", extra={"doing": doing, "error": reason})
            return False

    async def _take(self) -> bool:
        record = await self._read()
        now = self._clock()
        self._sighting = sighted(self._sighting, record, at=now)
        if not is_free(self._sighting, me=self._identity, at=now, terms=self._terms):
            return False
        await self._write(record)
        return True

    async def _renew(self) -> bool:
        if self._held is None:
            self._lose("keep() was called without the Lease")
        try:
            await self._write(self._held)
        except LeaseConflict:
            # Either robbed, or an earlier renewal arrived though its answer did not.
            record = await self._read()
            if record.holder != self._identity:
                self._lose(f"the Lease was taken by {record.holder or 'nobody'!r}")
            await self._write(record)
        return True

    async def _give_back(self) -> bool:
        record = await self._read()
        if record.holder == self._identity:
            async with asyncio.timeout(self._terms.call_timeout):
                await self._store.write(replace(record, holder=""))
        return True

    async def _read(self) -> Record:
        async with asyncio.timeout(self._terms.call_timeout):
            return await self._store.read() or Record()

    async def _write(self, before: Record) -> None:
        after = taken(before, me=self._identity, now=self._today(), terms=self._terms)
        # From now on the server may have it so, even if we never hear its answer.
        self._may_hold = True
        sent = self._clock()
        async with asyncio.timeout(self._terms.call_timeout):
            self._held = await self._store.write(after)
        self._deadline = sent + self._terms.renew_deadline

    def _lose(self, why: str) -> NoReturn:
        self._held = None
        self._may_hold = False
        raise LeaseLost(why, hint="this process ends, and starts again as a candidate")
