"""Never two holders: whole elections in virtual time, over a network that loses and delays."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_operator.kube.elector import Elector, LeaseConflict, LeaseLost
from rolesanywhere_operator.kube.lease import Record, Terms
from tests.operator.virtualtime import VirtualLoop

T = TypeVar("T")
# Hardly any slack between holder and heir, and calls that may take long: no mistake of a moment
# is hidden by the three seconds that the default terms leave.
TIGHT = Terms(duration=12, renew_deadline=11.9, retry_period=1.0, call_timeout=6.0)
# By how much each clock may run fast or slow: what the slack of its terms covers, nearly. A holder
# whose clock is slow and an heir whose clock is fast are apart by both, and (1 + d) / (1 - d) is to
# stay below duration / renew_deadline.
DRIFT = {TIGHT: 0.004, Terms(): 0.17, Terms.lasting(3): 0.17}
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SIMULATED_SECONDS = 240.0


class Server:
    """The one Lease, as the API server keeps it."""

    def __init__(self) -> None:
        self.record: Record | None = None
        self._versions = count(1)

    def write(self, record: Record) -> Record:
        if record.version != (self.record.version if self.record else ""):
            raise LeaseConflict
        self.record = replace(record, version=str(next(self._versions)))
        return self.record


class Wire:
    """One candidate's way to the server; every so often all of it fails for a while."""

    def __init__(self, server: Server, random: Random) -> None:
        self._server = server
        self._random = random
        self._down_until = 0.0

    async def read(self) -> Record | None:
        return await self._call(lambda: self._server.record)

    async def write(self, record: Record) -> Record:
        return await self._call(lambda: self._server.write(record))

    async def _call(self, act: Callable[[], T]) -> T:
        await self._trip()
        answer = act()
        await self._trip()
        return answer

    async def _trip(self) -> None:
        """One way: quick mostly, slow at times, and at times nothing arrives any more."""
        now = asyncio.get_running_loop().time()
        if self._random.random() < 0.05:
            self._down_until = now + self._random.uniform(1, 40)
        slow = self._random.random() < 0.2
        await asyncio.sleep(self._random.uniform(0, 8 if slow else 0.2))
        if now < self._down_until:
            raise ConnectionResetError


class Election:
    """Candidates that come, act, and go in every way a process can."""

    def __init__(self, random: Random, terms: Terms) -> None:
        self.acting: list[str] = []
        self._terms = terms
        self.terms_of_office = 0
        self._server = Server()
        self._random = random
        self._identities = count()

    async def run(self, *, candidates: int) -> None:
        lives = [asyncio.create_task(self._process()) for _ in range(candidates)]
        done, pending = await asyncio.wait(
            lives, timeout=SIMULATED_SECONDS, return_when=asyncio.FIRST_EXCEPTION
        )
        for life in pending:
            life.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for life in done:
            life.result()

    async def _process(self) -> None:
        wire = Wire(self._server, self._random)
        while True:
            await asyncio.sleep(self._random.uniform(0, 5))
            await self._one_life(wire)

    async def _one_life(self, wire: Wire) -> None:
        me = f"candidate-{next(self._identities)}"
        steady, of_day = self._random.uniform(-900, 1e6), self._random.uniform(-1e5, 1e5)
        pace = 1 + self._random.uniform(-1, 1) * DRIFT[self._terms]
        loop = asyncio.get_running_loop()
        elector = Elector(
            wire,
            identity=me,
            terms=self._terms,
            clock=lambda: loop.time() * pace + steady,
            today=lambda: NOON + timedelta(seconds=loop.time() + of_day),
        )
        await elector.acquire()
        self._takes_office(me)
        try:
            async with asyncio.timeout(self._random.choice([3, 30, 300])):
                await elector.keep()
        except (LeaseLost, TimeoutError):
            pass
        finally:
            self.acting.remove(me)
        if self._random.random() < 0.5:  # ended in order; otherwise killed
            await elector.release()

    def _takes_office(self, me: str) -> None:
        self.acting.append(me)
        self.terms_of_office += 1
        assert self.acting == [me], "two hold the Lease at once"


@pytest.mark.parametrize("terms", DRIFT, ids=["tight", "default", "shortest"])
def test_no_clocks_are_further_apart_than_the_terms_allow(terms: Terms) -> None:
    apart = (1 + DRIFT[terms]) / (1 - DRIFT[terms])
    assert 0.97 < apart / (terms.duration / terms.renew_deadline) < 1


def in_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(DRIFT)),
    st.integers(min_value=0, max_value=2**32),
    st.integers(min_value=2, max_value=4),
)
def test_there_are_never_two_holders(terms: Terms, seed: int, candidates: int) -> None:
    random = Random(seed)  # noqa: S311 - chance that can be repeated, not secrecy
    election = Election(random, terms)
    in_virtual_time(election.run(candidates=candidates))


@pytest.mark.parametrize("terms", DRIFT, ids=["tight", "default", "shortest"])
def test_the_elections_do_have_winners(terms: Terms) -> None:
    """Otherwise the property above would hold for electors that never elect."""
    elections = [Election(Random(seed), terms) for seed in range(5)]  # noqa: S311 - as above
    for election in elections:
        in_virtual_time(election.run(candidates=3))
    assert sum(election.terms_of_office for election in elections) > 25


class SlowAnswers:
    """A store where a write arrives at once and its answer late; after the first, nothing does."""

    def __init__(self, seconds: float) -> None:
        self._server = Server()
        self._seconds = seconds

    async def read(self) -> Record | None:
        return self._server.record

    async def write(self, record: Record) -> Record:
        if self._server.record is not None:
            raise ConnectionResetError
        written = self._server.write(record)
        await asyncio.sleep(self._seconds)
        return written


def test_a_holder_counts_from_before_its_write_left() -> None:
    """The others count from when they read it, which may be long before its answer is back."""

    async def hold() -> None:
        clock, terms = asyncio.get_running_loop().time, Terms()
        elector = Elector(
            SlowAnswers(1.5), identity="me", terms=terms, clock=clock, today=lambda: NOON
        )
        sent = clock()
        await elector.acquire()
        with pytest.raises(LeaseLost):
            await elector.keep()
        assert clock() - sent <= terms.renew_deadline + 0.001

    in_virtual_time(hold())
