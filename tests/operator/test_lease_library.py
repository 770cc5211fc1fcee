"""Why the election is ours: what the official client's asyncio elector does when calls go wrong.

When one of these fails after an upgrade, the library has mended it, and it is time to look again.
"""

import asyncio
from typing import Any

import pytest
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.baselock import BaseLock


class Lock(BaseLock):
    """A lock in memory whose calls go wrong after the first renewal."""

    def __init__(self, trouble: Any) -> None:
        super().__init__("lock", "default", "me")
        self._trouble = trouble
        self._record: LeaderElectionRecord | None = None
        self._gets = 0

    async def get(self, name: str, namespace: str) -> Any:
        self._gets += 1
        if self._gets > 1:
            await self._trouble()
        return True, self._record

    async def update(self, name: str, namespace: str, record: LeaderElectionRecord) -> bool:
        self._record = record
        return True

    async def create(self, name: str, namespace: str, record: LeaderElectionRecord) -> bool:
        raise AssertionError("the lock is there")


async def hang() -> None:
    await asyncio.sleep(3600)


async def reset() -> None:
    await asyncio.sleep(0)
    raise ConnectionResetError


class Work:
    def __init__(self) -> None:
        self.is_running = False

    async def run(self) -> None:
        self.is_running = True
        try:
            await asyncio.sleep(3600)
        finally:
            self.is_running = False


def election(trouble: Any, work: Any) -> LeaderElection:
    return LeaderElection(
        Config(
            Lock(trouble),
            lease_duration=1.4,
            renew_deadline=1.3,
            retry_period=1,
            onstarted_leading=work,
            onstopped_leading=None,  # type: ignore[arg-type]  # the library allows it
        )
    )


async def test_a_call_that_hangs_keeps_its_leader_at_work_past_the_lease() -> None:
    work = Work()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(election(hang, work.run).run(), 1.6)
    assert work.is_running


async def test_a_broken_connection_ends_the_election_and_not_the_work() -> None:
    work = Work()
    with pytest.raises(ConnectionResetError):
        await election(reset, work.run).run()
    assert work.is_running
