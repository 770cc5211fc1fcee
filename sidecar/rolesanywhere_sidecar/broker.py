"""Holds the credentials, and renews them one session at a time behind everybody's back.

Callers are answered from memory: no request ever waits for AWS. Only a success replaces what is
held. Never speaks HTTP to anyone and never exits: what fails is remembered, logged and retried.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn, Self

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar import pacing
from rolesanywhere_sidecar.clock import Clock
from rolesanywhere_sidecar.credentials import Credentials, SessionSource, Standing, standing

log = logging.getLogger(__name__)

# Seconds for one attempt, with key, network and service together.
ATTEMPT_DEADLINE: Final = 30.0

# Seconds between two looks at the clock: a machine that slept, or whose time was set, is noticed.
LONGEST_PAUSE: Final = 15.0


class SessionTimedOut(RolesAnywhereError):
    """An attempt at CreateSession took longer than its deadline."""

    code = "SessionTimedOut"
    retryable = True


class SessionAlreadyExpired(RolesAnywhereError):
    """The service handed out a session that is over by this machine's clock."""

    code = "SessionAlreadyExpired"
    retryable = True


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the latest renewal failed: a code that never changes and a sentence without secrets."""

    code: str
    sentence: str

    @classmethod
    def of(cls, failure: Exception) -> Self:
        """What may be told of ``failure``."""
        if isinstance(failure, RolesAnywhereError):
            return cls(failure.code, str(failure))
        # Its text is for the log alone, which redacts: readiness is open to the whole cluster.
        name = type(failure).__name__
        return cls(RolesAnywhereError.code, f"an unforeseen {name}; see the sidecar's log")


class Broker:
    """The one holder of credentials; start `run` once, beside whoever asks for `current`."""

    def __init__(
        self,
        source: SessionSource,
        *,
        clock: Clock,
        draw: Callable[[], float],
        deadline: float = ATTEMPT_DEADLINE,
    ) -> None:
        self._source = source
        self._clock = clock
        self._draw = draw
        self._deadline = deadline
        self._held: Credentials | None = None
        self._margin = timedelta()
        self._failures = 0
        self._problem: Problem | None = None
        self._scheduled = self._due = clock.now()
        self._rescheduled = asyncio.Event()
        self._last_turn = clock.monotonic()

    def current(self) -> Credentials | None:
        """What may be served now, straight from memory; nothing that has expired."""
        return None if self.standing is Standing.EXPIRED else self._held

    @property
    def standing(self) -> Standing:
        """How the held credentials stand now."""
        return standing(self._held, at=self._clock.now(), margin=self._margin)

    @property
    def last_problem(self) -> Problem | None:
        """Why the latest renewal failed; none once one has succeeded."""
        return self._problem

    @property
    def is_stuck(self) -> bool:
        """Whether `run` has missed its turns for far longer than a pause and an attempt take."""
        patience = 2 * (LONGEST_PAUSE + self._deadline)
        return self._clock.monotonic() - self._last_turn > patience

    def renew_soon(self) -> None:
        """Renew though nothing has aged: the identity has changed.

        Within a jittered moment while something is held, and at once when nothing is, or when
        renewals fail: the change may be the cure.
        """
        calm = self.current() is not None and self._problem is None
        self._failures = 0
        self._schedule(pacing.ROTATION_SPREAD * self._draw() if calm else 0.0)

    async def run(self) -> NoReturn:
        """Renew for ever; returns only by cancellation."""
        while True:
            self._last_turn = self._clock.monotonic()
            await self._until_due()
            self._due = datetime.max.replace(tzinfo=UTC)
            self._schedule(await self._renew())

    def _schedule(self, seconds: float) -> None:
        """Renew in ``seconds``, or when already asked to, whichever is first."""
        self._scheduled = self._clock.now()
        self._due = min(self._due, self._scheduled + timedelta(seconds=seconds))
        self._rescheduled.set()

    async def _until_due(self) -> None:
        while (left := self._seconds_left()) > 0:
            self._rescheduled.clear()
            await self._clock.pause(min(left, LONGEST_PAUSE), unless=self._rescheduled)
            self._last_turn = self._clock.monotonic()

    def _seconds_left(self) -> float:
        now = self._clock.now()
        # A clock that was set back would otherwise put off the renewal by as much.
        return (self._due - now).total_seconds() if now >= self._scheduled else 0.0

    async def _renew(self) -> float:
        """Make one attempt; the seconds until the next."""
        try:
            fetched = await self._fetch()
        except Exception as failure:
            # Whatever it was, dying of it would take away what is still valid.
            return self._failed(failure)
        return self._succeeded(fetched)

    async def _fetch(self) -> Credentials:
        try:
            async with asyncio.timeout(self._deadline):
                fetched = await self._source.create_session()
        except TimeoutError:
            raise SessionTimedOut(
                f"CreateSession did not finish within {self._deadline:g} seconds",
                hint="check that the pod can reach the Roles Anywhere endpoint",
            ) from None
        now = self._clock.now()
        if standing(fetched, at=now, margin=timedelta()) is Standing.EXPIRED:
            raise SessionAlreadyExpired(
                f"the service gave a session that ends at {fetched.expires:%Y-%m-%dT%H:%M:%SZ}"
                f" but here it is {now:%Y-%m-%dT%H:%M:%SZ}",
                hint="set this machine's clock",
            )
        return fetched

    def _succeeded(self, fetched: Credentials) -> float:
        self._held = fetched
        self._margin = pacing.renewal_margin(fetched, draw=self._draw())
        self._failures = 0
        self._problem = None
        wait = pacing.until_renewal(fetched, margin=self._margin, at=self._clock.now())
        log.info(
            "session created",
            extra={
                "access_key_id": fetched.access_key_id,
                "expires": fetched.expires,
                "renewal_in_seconds": round(wait),
            },
        )
        return wait

    def _failed(self, failure: Exception) -> float:
        self._failures += 1
        self._problem = Problem.of(failure)
        wait = pacing.backoff(
            self._failures,
            retryable=getattr(failure, "retryable", True),
            retry_after=getattr(failure, "retry_after", None),
            draw=self._draw(),
        )
        still_serving = self.current() is not None
        log.log(
            logging.WARNING if still_serving else logging.ERROR,
            "session renewal failed",
            exc_info=None if isinstance(failure, RolesAnywhereError) else failure,
            extra={
                "code": self._problem.code,
                "problem": self._problem.sentence,
                "failures": self._failures,
                "retry_in_seconds": round(wait, 1),
                "still_serving": still_serving,
            },
        )
        return wait
