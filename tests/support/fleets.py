"""Fleets of sidecars that start at once, in virtual time, against CreateSession's quota.

Two ways to the same numbers: `simulated` uses what decides, `pacing`, and a queue of events, and so
can have ten thousand of them; `lived` runs real brokers under a clock of our own. Both draw the
same random numbers, so that they can be compared attempt by attempt.
"""

import asyncio
import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from rolesanywhere_operator.domain.turns import Quota, Turns
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.failures import Throttled
from rolesanywhere_sidecar.renewal import pacing
from rolesanywhere_sidecar.renewal.broker import Broker
from rolesanywhere_sidecar.renewal.pacing import Backoff
from tests.fakes.world import Bucket
from tests.support.clocks import START, FakeClock
from tests.support.sessions import some_credentials

# CreateSession: calls a second for an account in a region. What is refused costs nothing of it.
QUOTA: Final = 10.0
# What the chart hands out of it, shared by two replicas.
REPLICAS: Final = 2
TURNS_A_SECOND: Final = 0.9 * QUOTA / REPLICAS


@dataclass(frozen=True, slots=True)
class Call:
    """One request: when, in seconds, by which sidecar, and whether it was within the quota."""

    at: float
    sidecar: int
    granted: bool


@dataclass(frozen=True, slots=True)
class Story:
    """All calls of a fleet's start, oldest first."""

    sidecars: int
    calls: Sequence[Call] = field(repr=False)

    def by_sidecar(self) -> list[list[Call]]:
        """Each sidecar's calls: two stories may tell the order of one microsecond differently."""
        each: list[list[Call]] = [[] for _ in range(self.sidecars)]
        for call in self.calls:
            each[call.sidecar].append(call)
        return each

    @property
    def calls_each(self) -> float:
        return len(self.calls) / self.sidecars

    @property
    def most_calls(self) -> int:
        return max(len(calls) for calls in self.by_sidecar())

    def ready(self, share: float) -> float:
        """Seconds until that share of the sidecars has a session."""
        times = [call.at for call in self.calls if call.granted]
        return times[max(0, round(share * self.sidecars) - 1)]


def turns_for(sidecars: int, *, seed: int) -> list[datetime | None]:
    """What the webhook's replicas hand out to so many pods, all admitted at the start."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    desks = [Turns(TURNS_A_SECOND)] * REPLICAS
    quota, handed = Quota("aws", "111122223333", "eu-west-1"), []
    for _ in range(sidecars):
        replica = chance.randrange(REPLICAS)
        desks[replica], turn = desks[replica].take(quota, at=START)
        handed.append(turn)
    return handed


def _chances(sidecars: int, seed: int) -> list[Callable[[], float]]:
    return [random.Random(f"{seed}-{number}").random for number in range(sidecars)]  # noqa: S311


def simulated(sidecars: int, turns: Sequence[datetime | None], *, seed: int = 1) -> Story:
    """The story by arithmetic alone."""
    chances, learned = _chances(sidecars, seed), [Backoff()] * sidecars
    bucket, calls = Bucket.full(QUOTA, START), list[Call]()
    queue = [
        (pacing.until_turn(turn, at=START) + pacing.START_SPREAD * draw(), number)
        for number, (turn, draw) in enumerate(zip(turns, chances, strict=True))
    ]
    heapq.heapify(queue)
    while queue:
        at, number = heapq.heappop(queue)
        left = bucket.take(START + timedelta(seconds=at))
        calls.append(Call(at, number, left is not None))
        if left is not None:
            bucket = left
            continue
        learned[number] = learned[number].failed(pacing.THROTTLED, draw=chances[number]())
        heapq.heappush(queue, (at + learned[number].waits[pacing.THROTTLED], number))
    return Story(sidecars, calls)


class _Service:
    """What all sources of a fleet share: the quota, and the record of what was asked."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.bucket = Bucket.full(QUOTA, START)
        self.calls: list[Call] = []

    def create_session(self, number: int) -> Credentials:
        now = self.clock.now()
        left = self.bucket.take(now)
        self.calls.append(Call((now - START).total_seconds(), number, left is not None))
        if left is None:
            raise Throttled("Rate exceeded")
        self.bucket = left
        return some_credentials(number, issued=now, life=43_200)


@dataclass(frozen=True, slots=True)
class _Source:
    service: _Service
    number: int

    async def create_session(self) -> Credentials:
        return self.service.create_session(self.number)


def apart(one: Story, other: Story) -> float | None:
    """Seconds between the same call in two stories, at most; none where they differ in more."""
    most = 0.0
    for calls, others in zip(one.by_sidecar(), other.by_sidecar(), strict=True):
        if [call.granted for call in calls] != [call.granted for call in others]:
            return None
        most = max(most, *(abs(a.at - b.at) for a, b in zip(calls, others, strict=True)))
    return most


async def lived(sidecars: int, turns: Sequence[datetime | None], *, seed: int = 1) -> Story:
    """The story as so many real brokers live it."""
    clock = FakeClock()
    service = _Service(clock)
    brokers = [
        Broker(_Source(service, number), clock=clock, draw=draw, start_after=turn)
        for number, (turn, draw) in enumerate(zip(turns, _chances(sidecars, seed), strict=True))
    ]
    running = [asyncio.create_task(broker.run()) for broker in brokers]
    while any(broker.current() is None for broker in brokers):
        await clock.advance(1)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return Story(sidecars, service.calls)
