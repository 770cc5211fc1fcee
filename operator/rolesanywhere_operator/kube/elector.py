"""One candidate for the Lease: takes it, keeps it, and gives it back.

Never stops anyone's work: it raises `LeaseLost`, and the caller ends the process.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import NoReturn, Protocol

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_operator.kube.lease import Record, Sighting, Terms, is_free, sighted, taken

log = logging.getLogger(__name__)


class LeaseConflict(Exception):
    """The Lease changed since the version that a write wanted to replace."""


class LeaseLost(RolesAnywhereError):
    """This process may no longer act as the leader."""

    code = "LeaseLost"
    retryable = True


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
                async with asyncio.timeout(self._time_left()):
                    await asyncio.sleep(self._terms.retry_period)
                # Anew: time-outs count on the loop's clock, which stands still in suspend.
                async with asyncio.timeout(self._time_left()):
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

    def _time_left(self) -> float:
        """Seconds for which the Lease is still ours. Raises ``TimeoutError`` when it is not."""
        left = self._deadline - self._clock()
        if left <= 0:
            raise TimeoutError
        return left

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
