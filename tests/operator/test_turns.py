"""Turns in a fleet, as arithmetic."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_operator.domain.turns import LONGEST_WAIT, Quota, Turns

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
IRELAND = Quota("aws", "111122223333", "eu-west-1")
OTHER = Quota("aws", "444455556666", "eu-west-1")


def handed_out(
    pods: int, *, per_second: float = 9.0, gap: float = 0.0, quota: Quota = IRELAND
) -> list[datetime]:
    """When each of so many pods may start, that are admitted ``gap`` seconds apart."""
    turns, starts = Turns(per_second), []
    for number in range(pods):
        at = NOW + timedelta(seconds=number * gap)
        turns, turn = turns.take(quota, at=at)
        starts.append(turn or at)
    return starts


def busiest_second(starts: list[datetime]) -> int:
    return max(sum(one <= other < one + timedelta(seconds=1) for other in starts) for one in starts)


def test_a_pod_alone_gets_no_turn() -> None:
    assert Turns(9.0).take(IRELAND, at=NOW)[1] is None


def test_pods_that_come_slowly_get_no_turn() -> None:
    turns = Turns(9.0)
    for number in range(100):
        turns, turn = turns.take(IRELAND, at=NOW + timedelta(seconds=number / 8))
        assert turn is None


def test_what_the_service_takes_at_once_starts_at_once() -> None:
    starts = handed_out(20)
    assert starts[:9] == [NOW] * 9
    assert starts[9] > NOW
    assert starts == sorted(starts)


def test_ten_thousand_pods_are_done_in_their_time() -> None:
    assert handed_out(10_000)[-1] - NOW < timedelta(seconds=1112)


@given(
    st.integers(min_value=1, max_value=300),
    st.floats(min_value=1, max_value=20),
    st.floats(min_value=0, max_value=0.5),
)
def test_no_second_holds_more_than_its_share_and_one_burst(
    pods: int, per_second: float, gap: float
) -> None:
    starts = handed_out(pods, per_second=per_second, gap=gap)
    assert busiest_second(starts) <= 2 * per_second + 1


@given(st.lists(st.floats(min_value=0, max_value=3), min_size=1, max_size=100))
def test_over_any_time_no_more_start_than_the_rate_and_one_burst_allow(gaps: list[float]) -> None:
    turns, at, starts = Turns(5.0), NOW, []
    for gap in gaps:
        at += timedelta(seconds=gap)
        turns, turn = turns.take(IRELAND, at=at)
        starts.append(turn or at)
    for index, first in enumerate(starts):
        for later, last in enumerate(starts[index:], start=1):
            assert later <= 5.0 * ((last - first).total_seconds() + 1) + 1.001


def test_an_idle_hour_saves_nothing_up() -> None:
    turns, later = Turns(9.0), NOW + timedelta(hours=1)
    turns, _ = turns.take(IRELAND, at=NOW)
    at_once = 0
    for _ in range(30):
        turns, turn = turns.take(IRELAND, at=later)
        at_once += turn is None
    assert at_once == 9


def test_each_account_and_region_has_a_queue_of_its_own() -> None:
    turns = Turns(9.0)
    for _ in range(500):
        turns, _ = turns.take(IRELAND, at=NOW)
    assert turns.take(IRELAND, at=NOW)[1] is not None
    assert turns.take(OTHER, at=NOW)[1] is None


def test_a_queue_that_ran_empty_is_forgotten() -> None:
    turns = Turns(9.0)
    for number in range(50):
        turns, _ = turns.take(Quota("aws", f"{number:012}", "eu-west-1"), at=NOW)
    turns, _ = turns.take(IRELAND, at=NOW + timedelta(minutes=1))
    assert set(turns.next_free) == {IRELAND}


def test_no_turn_is_further_ahead_than_a_sidecar_believes() -> None:
    assert max(handed_out(50_000)) == NOW + LONGEST_WAIT


@pytest.mark.parametrize("per_second", [0.0, -1.0])
def test_without_a_rate_nobody_queues(per_second: float) -> None:
    turns = Turns(per_second)
    for _ in range(100):
        turns, turn = turns.take(IRELAND, at=NOW)
        assert turn is None
