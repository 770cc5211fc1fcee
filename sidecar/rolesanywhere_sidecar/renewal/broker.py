"""Holds the credentials, and renews them one session at a time behind everybody's back.

Callers are answered from memory: no request ever waits for AWS. Only a success replaces what is
held. Never speaks HTTP to anyone and never exits: what fails is remembered, logged and retried.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.clock import Clock
from rolesanywhere_sidecar.credentials import Credentials, SessionSource, Standing, standing
from rolesanywhere_sidecar.renewal import pacing
from rolesanywhere_sidecar.renewal.pacing import Backoff, Hurries
from rolesanywhere_sidecar.renewal.problems import Complaints, Problem, manner_of

log = logging.getLogger(__name__)

# Seconds for one renewal, with files, key, network and service together, and with the second
# request that a wrong clock or a refused identity costs. Each request has 15 of its own.
RENEWAL_DEADLINE: Final = 30.0

# Seconds between two looks at the clock: a machine that slept, or whose time was set, is noticed.
LONGEST_PAUSE: Final = 15.0

_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class SessionTimedOut(RolesAnywhereError):
    """A renewal took longer than its deadline."""

    code = "SessionTimedOut"
    retryable = True


class SessionAlreadyExpired(RolesAnywhereError):
    """The service handed out a session that is over by its own clock."""

    code = "SessionAlreadyExpired"
    retryable = True


def _ignored(_: str) -> None:
    """Nobody counts."""


async def _forgotten(_: Credentials) -> None:
    """Nobody keeps what ends with the process."""


class Broker:
    """The one holder of credentials; start `run` once, beside whoever asks for `current`.

    ``start_after`` is a turn in a fleet: before it nothing is asked of AWS, unless something is
    held already. ``unsettled`` tells that the latest session is second best, and worth another
    attempt on the slow schedule. ``count`` hears each attempt's code, "" for a success. ``keep``
    is given each new session once that is served, and raises nothing.
    """

    def __init__(
        self,
        source: SessionSource,
        *,
        clock: Clock,
        draw: Callable[[], float],
        deadline: float = RENEWAL_DEADLINE,
        start_after: datetime | None = None,
        unsettled: Callable[[], bool] = lambda: False,
        count: Callable[[str], None] = _ignored,
        keep: Callable[[Credentials], Awaitable[None]] = _forgotten,
    ) -> None:
        self._source = source
        self._clock = clock
        self._draw = draw
        self._deadline = deadline
        self._unsettled = unsettled
        self._count = count
        self._keep = keep
        self._start_after = start_after
        self._held: Credentials | None = None
        self._margin = timedelta()
        self._backoff = Backoff()
        self._hurries = Hurries(at=clock.monotonic())
        self._hurried = False
        self._problem: Problem | None = None
        self._complaints = Complaints()
        self._running = False
        self._turn = False
        # By a clock that nobody sets: what throttles us, or another's turn, is not hurried past.
        self._not_before = self._last_turn = clock.monotonic()
        self._scheduled, self._due = clock.now(), _NEVER
        self._rescheduled = asyncio.Event()

    def current(self) -> Credentials | None:
        """What may be served now, straight from memory; nothing that has expired."""
        return None if self.standing is Standing.EXPIRED else self._held

    @property
    def expires(self) -> datetime | None:
        """When the latest session ends, or has ended; none before the first."""
        return self._held.expires if self._held else None

    @property
    def standing(self) -> Standing:
        """How the held credentials stand now."""
        return standing(self._held, at=self._clock.now(), margin=self._margin)

    @property
    def last_problem(self) -> Problem | None:
        """Why the latest renewal failed; none once one has succeeded."""
        return self._problem

    @property
    def prospect(self) -> str:
        """What comes next, in a few words."""
        if self._running or self._due == _NEVER:
            return "an attempt is under way"
        left = self._seconds_left()
        if self._turn:
            at = self._clock.now() + timedelta(seconds=left)
            return (
                f"waits for its turn at {at:%Y-%m-%dT%H:%M:%SZ}, in {left:.0f} s,"
                " because many pods start at once"
            )
        return f"next attempt in {left:.0f} s"

    @property
    def is_stuck(self) -> bool:
        """Whether `run` has missed its turns for far longer than a pause and an attempt take."""
        patience = 2 * (LONGEST_PAUSE + self._deadline)
        return self._clock.monotonic() - self._last_turn > patience

    def adopt(self, kept: Credentials) -> None:
        """Serve what an earlier process has kept, and renew it when its time comes."""
        wait = self._hold(kept)
        log.info("session adopted", extra=_about(kept, wait))
        self._schedule(wait)

    def renew_soon(self) -> None:
        """Renew though nothing has aged: the identity has changed, or somebody asks for it.

        Within a jittered moment while something is held, and at once when nothing is, or when
        renewals fail: the change may be the cure. But not while the service, or a turn, wants us
        to wait, and not as often as files can change.
        """
        calm = self.current() is not None and self._problem is None
        self._backoff = self._backoff.forgetting(pacing.LASTING)
        self._hurries = self._hurries.regained(self._clock.monotonic())
        self._hurried = True
        spread = pacing.ROTATION_SPREAD * self._draw() if calm else 0.0
        self._schedule(max(spread, self._hurries.wait))

    async def run(self) -> NoReturn:
        """Renew for ever; returns only by cancellation."""
        if self._held is None:
            self._schedule(self._until_first())
        while True:
            self._last_turn = self._clock.monotonic()
            await self._until_due()
            self._due = _NEVER
            if self._hurried:
                self._hurries, self._hurried = self._hurries.spent(), False
            self._running, self._turn = True, False
            wait = await self._renew()
            self._running = False
            self._schedule(wait)

    def _until_first(self) -> float:
        now = self._clock.now()
        wait = pacing.until_turn(self._start_after, at=now)
        self._turn = wait > 0
        self._not_before = self._clock.monotonic() + wait
        if self._start_after is not None and not self._turn and self._start_after > now:
            log.warning(
                "turn ignored",
                extra={
                    "problem": f"the turn at {self._start_after:%Y-%m-%dT%H:%M:%SZ} is more than"
                    f" {pacing.LONGEST_TURN / 60:.0f} minutes ahead of {now:%Y-%m-%dT%H:%M:%SZ};"
                    " check the clocks of this machine and of the one that handed it out"
                },
            )
        return wait + pacing.START_SPREAD * self._draw()

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
        due = (self._due - now).total_seconds() if now >= self._scheduled else 0.0
        return max(due, self._not_before - self._clock.monotonic(), 0.0)

    async def _renew(self) -> float:
        """Make one attempt; the seconds until the next."""
        try:
            fetched = await self._fetch()
        except Exception as failure:
            # Whatever it was, dying of it would take away what is still valid.
            return self._failed(failure)
        wait = self._succeeded(fetched)
        await self._keep(fetched)
        return wait

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

    def _hold(self, fetched: Credentials) -> float:
        """Serve ``fetched`` from now on; the seconds until it is to be renewed."""
        self._held = fetched
        self._margin = pacing.renewal_margin(fetched, draw=self._draw())
        return pacing.until_renewal(fetched, margin=self._margin, at=self._clock.now())

    def _succeeded(self, fetched: Credentials) -> float:
        wait = self._hold(fetched)
        self._problem = None
        self._complaints.forget()
        if self._unsettled():
            self._backoff = self._backoff.failed(pacing.LASTING, draw=self._draw())
            wait = min(wait, self._backoff.waits[pacing.LASTING])
        else:
            self._backoff = self._backoff.succeeded()
        self._count("")
        log.info("session created", extra=_about(fetched, wait))
        return wait

    def _failed(self, failure: Exception) -> float:
        manner = manner_of(failure)
        self._problem = Problem.of(failure)
        self._backoff = self._backoff.failed(manner, draw=self._draw())
        left = self._life_left()
        asked_for = pacing.asked_for(getattr(failure, "retry_after", None), left=left)
        wait = asked_for + pacing.closing(self._backoff.waits[manner], left=left)
        # A new certificate cures neither a crowd nor a wish of the service's.
        held_back = wait if manner is pacing.THROTTLED else asked_for
        self._not_before = self._clock.monotonic() + held_back
        self._count(self._problem.code)
        self._complaints.tell(failure, retry_in=wait, still_serving=self.current() is not None)
        return wait

    def _life_left(self) -> float:
        held = self.current()
        return (held.expires - self._clock.now()).total_seconds() if held else 0.0


def _about(held: Credentials, wait: float) -> dict[str, object]:
    return {
        "access_key_id": held.access_key_id,
        "expires": held.expires,
        "renewal_in_seconds": round(wait),
    }
