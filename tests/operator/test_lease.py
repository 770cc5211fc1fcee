"""The decisions of the election, and one elector against a store that does what a test says."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rolesanywhere_operator.kube.elector import Elector, LeaseConflict, LeaseLost
from rolesanywhere_operator.kube.lease import Record, Terms, is_free, micro_time, sighted, taken
from rolesanywhere_operator.kube.lease_store import manifest, record_of

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TERMS = Terms()
# In the order that Terms demands. In virtual time, so that no busy machine is late.
QUICK = Terms(duration=1, renew_deadline=0.15, retry_period=0.02, call_timeout=0.05)


def held_by(holder: str, *, version: str = "1", duration: int = 10) -> Record:
    return Record(holder=holder, duration=duration, version=version)


class Store:
    """A Lease in memory; ``before_call`` may hang or raise."""

    def __init__(self, record: Record | None = None) -> None:
        self.record = record
        self.writes = 0
        self.before_call: Callable[[], object] = lambda: None

    async def read(self) -> Record | None:
        await self._obstacle()
        return self.record

    async def write(self, record: Record) -> Record:
        await self._obstacle()
        if record.version != (self.record.version if self.record else ""):
            raise LeaseConflict
        self.writes += 1
        self.record = replace(record, version=str(int(record.version or "0") + 1))
        return self.record

    async def _obstacle(self) -> None:
        found = self.before_call()
        if asyncio.iscoroutine(found):
            await found


def candidate(store: Store, identity: str = "me") -> Elector:
    clock = asyncio.get_running_loop().time
    return Elector(store, identity=identity, terms=QUICK, clock=clock, today=lambda: NOON)


def test_a_held_lease_is_free_only_after_its_duration_without_a_sign_of_life() -> None:
    seen = sighted(None, held_by("other"), at=100.0)
    assert not is_free(seen, me="me", at=110.0, terms=TERMS)
    assert is_free(seen, me="me", at=110.1, terms=TERMS)


def test_any_new_version_is_a_sign_of_life() -> None:
    seen = sighted(None, held_by("other", version="1"), at=100.0)
    assert sighted(seen, held_by("other", version="1"), at=108.0).first_seen == 100.0
    assert sighted(seen, held_by("other", version="2"), at=108.0).first_seen == 108.0


def test_the_longer_of_the_two_durations_is_waited_for() -> None:
    theirs = sighted(None, held_by("other", duration=60), at=0.0)
    ours = sighted(None, held_by("other", duration=1), at=0.0)
    assert not is_free(theirs, me="me", at=59.0, terms=TERMS)
    assert not is_free(ours, me="me", at=9.0, terms=TERMS)


def test_a_released_or_own_lease_is_free_at_once() -> None:
    for holder in ("", "me"):
        assert is_free(sighted(None, held_by(holder), at=0.0), me="me", at=0.0, terms=TERMS)


def test_a_change_of_hands_is_counted_and_dated() -> None:
    after = taken(held_by("other"), me="me", now=NOON, terms=TERMS)
    assert (after.holder, after.transitions) == ("me", 1)
    assert after.acquired == after.renewed == "2026-03-01T12:00:00.000000Z"


def test_a_renewal_keeps_the_time_of_acquisition_and_the_count() -> None:
    first = taken(Record(), me="me", now=NOON, terms=TERMS)
    again = taken(first, me="me", now=NOON.replace(hour=13), terms=TERMS)
    assert (again.acquired, again.transitions) == (first.acquired, 0)
    assert again.renewed == "2026-03-01T13:00:00.000000Z"


def test_the_time_of_day_is_written_in_utc_with_six_digits() -> None:
    assert micro_time(NOON.astimezone()) == "2026-03-01T12:00:00.000000Z"


@pytest.mark.parametrize(
    "spans",
    [
        {"duration": 7, "renew_deadline": 7.0},
        {"renew_deadline": 20.0},
        {"renew_deadline": 5.0, "retry_period": 2.0, "call_timeout": 3.0},
        {"retry_period": -5.0, "call_timeout": 2.0},
    ],
)
def test_terms_under_which_two_could_hold_are_refused(spans: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be below"):
        Terms(**spans)  # type: ignore[arg-type]  # one table for whole and broken seconds


def test_a_record_survives_being_written_and_read() -> None:
    record = taken(held_by("other", version="7"), me="me", now=NOON, terms=TERMS)
    assert record_of(manifest(record, namespace="ours", name="controller")) == record


def test_a_lease_that_nobody_held_says_nothing() -> None:
    assert record_of({"metadata": {"resourceVersion": "3"}}) == Record(version="3")


async def test_a_lease_that_is_not_there_is_created() -> None:
    store = Store()
    await candidate(store).acquire()
    assert store.record == Record(
        holder="me",
        duration=1,
        acquired="2026-03-01T12:00:00.000000Z",
        renewed="2026-03-01T12:00:00.000000Z",
        version="1",
    )


async def test_a_holder_renews_for_as_long_as_it_works() -> None:
    store = Store()
    elector = candidate(store)
    await elector.acquire()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3 * QUICK.renew_deadline):
            await elector.keep()
    assert store.writes > 5


def refuse() -> None:
    raise ConnectionResetError("reset")


@pytest.mark.parametrize("obstacle", [lambda: asyncio.sleep(60), refuse], ids=["hangs", "fails"])
async def test_a_holder_that_cannot_renew_gives_up_at_the_deadline(
    obstacle: Callable[[], object],
) -> None:
    store = Store()
    elector = candidate(store)
    await elector.acquire()
    store.before_call = obstacle
    began = asyncio.get_running_loop().time()
    with pytest.raises(LeaseLost, match=r"not renewed for 0\.15 seconds"):
        await elector.keep()
    assert asyncio.get_running_loop().time() - began < QUICK.duration


async def test_a_holder_that_wakes_from_suspend_after_the_deadline_makes_no_more_call() -> None:
    """The loop's own clock stands still in suspend, so its time-outs know nothing of it."""
    store, loop, suspended = Store(), asyncio.get_running_loop(), 0.0
    elector = Elector(
        store,
        identity="me",
        terms=QUICK,
        clock=lambda: loop.time() + suspended,
        today=lambda: NOON,
    )
    await elector.acquire()
    keeping = asyncio.create_task(elector.keep())
    await asyncio.sleep(QUICK.retry_period / 2)
    suspended = 60.0
    store.before_call = lambda: pytest.fail("a call was made after the deadline")
    with pytest.raises(LeaseLost, match=r"not renewed for 0\.15 seconds"):
        async with asyncio.timeout(QUICK.retry_period * 4):
            await keeping


async def test_a_holder_that_was_robbed_gives_up_at_once() -> None:
    store = Store()
    elector = candidate(store)
    await elector.acquire()
    store.record = held_by("thief", version="9")
    with pytest.raises(LeaseLost, match="taken by 'thief'"):
        async with asyncio.timeout(1):
            await elector.keep()


async def test_a_renewal_whose_answer_was_lost_is_not_a_robbery() -> None:
    store = Store()
    elector = candidate(store)
    await elector.acquire()
    assert store.record is not None
    store.record = replace(store.record, version="9")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * QUICK.renew_deadline):
            await elector.keep()
    assert store.record.holder == "me"
    assert int(store.record.version) > 10


async def test_a_failing_store_does_not_end_the_waiting() -> None:
    store = Store()
    store.before_call = refuse
    waiting = asyncio.create_task(candidate(store).acquire())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    store.before_call = lambda: None
    async with asyncio.timeout(1):
        await waiting


async def test_a_released_lease_is_taken_without_waiting() -> None:
    store = Store()
    first = candidate(store, "first")
    await first.acquire()
    await first.release()
    assert store.record is not None
    assert store.record.holder == ""
    async with asyncio.timeout(QUICK.duration / 2):
        await candidate(store, "second").acquire()
    assert store.record.transitions == 1


async def test_a_release_never_frees_the_lease_of_another() -> None:
    store = Store()
    elector = candidate(store)
    await elector.acquire()
    store.record = held_by("other", version="9")
    await elector.release()
    assert store.record.holder == "other"


async def test_a_release_that_fails_is_not_the_callers_trouble() -> None:
    store = Store()
    elector = candidate(store)
    await elector.acquire()
    store.before_call = refuse
    await elector.release()


async def test_a_lease_that_was_taken_in_the_last_moment_is_released_too() -> None:
    """A process that is told to stop while its first write is under way."""
    store = Store()
    arrived = asyncio.Event()

    async def write_and_hang(record: Record) -> Record:
        store.record = replace(record, version="1")
        arrived.set()
        await asyncio.sleep(60)
        return store.record

    elector = candidate(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "write", write_and_hang)
        taking = asyncio.create_task(elector.acquire())
        await arrived.wait()
        taking.cancel()
        await asyncio.wait([taking])
    await elector.release()
    assert store.record is not None
    assert store.record.holder == ""


def test_terms_keep_their_proportions() -> None:
    assert Terms.lasting(10) == Terms()
    assert Terms.lasting(30).renew_deadline == 21


def test_the_next_leads_in_under_fifteen_seconds_however_the_last_one_ended() -> None:
    """With two seconds over, for an API server that is slow to answer."""
    assert Terms().longest_vacancy <= 13


async def test_who_holds_nothing_releases_nothing() -> None:
    store = Store(held_by("other"))
    store.before_call = lambda: pytest.fail("a call was made")
    await candidate(store).release()
