"""When to renew and how long to wait, as arithmetic."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_sidecar.renewal import pacing
from rolesanywhere_sidecar.renewal.pacing import Backoff, Hurries, Manner
from tests.support.clocks import START
from tests.support.sessions import some_credentials

draws = st.floats(min_value=0, max_value=1, exclude_max=True)
lives = st.integers(min_value=900, max_value=43_200)
ALMOST_ONE = 1 - 2**-53
MANNERS = (pacing.PASSING, pacing.THROTTLED, pacing.LASTING)


def waits_of(manner: Manner, chances: list[float]) -> list[float]:
    """The waits after that many failures of one kind in a row."""
    learned, waits = Backoff(), []
    for draw in chances:
        learned = learned.failed(manner, draw=draw)
        waits.append(learned.waits[manner])
    return waits


@given(lives, draws)
def test_a_session_is_renewed_from_half_of_its_life(life: int, draw: float) -> None:
    margin = pacing.renewal_margin(some_credentials(life=life), draw=draw).total_seconds()
    assert life * (1 - pacing.RENEW_UNTIL) - 0.001 <= margin <= life / 2


@given(draws)
def test_an_hours_session_never_shows_botocore_less_than_25_minutes(draw: float) -> None:
    assert pacing.renewal_margin(some_credentials(life=3600), draw=draw) >= timedelta(minutes=25)


def test_a_thousand_sidecars_of_one_rollout_renew_below_ten_a_second() -> None:
    due = [
        3600 - pacing.renewal_margin(some_credentials(), draw=number / 1000).total_seconds()
        for number in range(1000)
    ]
    busiest = max(sum(second <= at < second + 1 for at in due) for second in range(1800, 2101))
    assert busiest < 10


def test_a_session_that_looks_old_already_still_leaves_aws_in_peace() -> None:
    margin = timedelta(seconds=1800)
    late = START + timedelta(seconds=3599)
    wait = pacing.until_renewal(some_credentials(), margin=margin, at=late)
    assert wait == pacing.SHORTEST_RENEWAL


def test_a_session_that_claims_to_last_for_ever_is_renewed_within_the_day() -> None:
    endless = replace(some_credentials(), expires=datetime.max.replace(tzinfo=UTC))
    margin = pacing.renewal_margin(endless, draw=0.0)
    assert pacing.until_renewal(endless, margin=margin, at=START) == 7 * 3600


@given(st.lists(st.tuples(st.sampled_from(MANNERS), draws), min_size=1, max_size=60))
def test_each_wait_is_within_its_kinds_bounds(history: list[tuple[Manner, float]]) -> None:
    learned = Backoff()
    for manner, draw in history:
        learned = learned.failed(manner, draw=draw)
        assert manner.first <= learned.waits[manner] <= manner.longest


@given(st.sampled_from(MANNERS), st.lists(draws, min_size=2, max_size=30))
def test_no_wait_falls_below_the_one_before_until_the_cap_is_near(
    manner: Manner, chances: list[float]
) -> None:
    waits = waits_of(manner, chances)
    for before, after in pairwise(waits):
        assert after >= min(before, manner.longest / pacing.GROWTH) - 1e-9


@given(st.sampled_from(MANNERS), st.lists(draws, min_size=1, max_size=30))
def test_no_wait_grows_more_than_threefold(manner: Manner, chances: list[float]) -> None:
    for before, after in pairwise([manner.first, *waits_of(manner, chances)]):
        assert after <= pacing.GROWTH * before


@pytest.mark.parametrize("manner", MANNERS, ids=["passing", "throttled", "lasting"])
def test_at_the_cap_waits_are_still_spread(manner: Manner) -> None:
    hopeless = waits_of(manner, [ALMOST_ONE] * 20)
    early, late = (waits_of(manner, [ALMOST_ONE] * 20 + [draw])[-1] for draw in (0.0, ALMOST_ONE))
    assert hopeless[-1] == pytest.approx(manner.longest)
    assert [early, late] == pytest.approx([manner.longest / 3, manner.longest])


def test_what_waits_for_somebody_to_act_is_asked_again_slowly_from_the_first() -> None:
    assert waits_of(pacing.LASTING, [0.0]) == [15]
    assert waits_of(pacing.LASTING, [ALMOST_ONE] * 3) == pytest.approx([45, 135, 300])


def test_success_shrinks_a_lesson_before_it_is_forgotten() -> None:
    learned = Backoff({pacing.THROTTLED: 90.0})
    learned = learned.succeeded()
    assert learned.waits == {pacing.THROTTLED: 30.0}
    assert learned.failed(pacing.THROTTLED, draw=0.0).waits[pacing.THROTTLED] == 30.0
    for _ in range(4):
        learned = learned.succeeded()
    assert learned == Backoff()


def test_one_kind_of_failure_teaches_nothing_about_another() -> None:
    learned = Backoff({pacing.THROTTLED: 90.0}).failed(pacing.PASSING, draw=0.0)
    assert learned.waits == {pacing.THROTTLED: 90.0, pacing.PASSING: 1.0}
    assert learned.forgetting(pacing.THROTTLED).waits == {pacing.PASSING: 1.0}


@given(st.floats(min_value=0, max_value=900))
def test_retry_after_is_waited_out(wish: float) -> None:
    assert pacing.asked_for(wish, left=0) == wish


@given(st.floats(min_value=0, max_value=900), lives)
def test_retry_after_never_costs_more_than_half_of_what_is_left(wish: float, left: int) -> None:
    assert pacing.asked_for(wish, left=left) == min(wish, left / 2)


@pytest.mark.parametrize("nonsense", [86_400.0, 1e300, float("inf")])
def test_a_retry_after_of_a_day_is_not_believed(nonsense: float) -> None:
    assert pacing.asked_for(nonsense, left=0) == pacing.LONGEST_RETRY_AFTER


@pytest.mark.parametrize("none", [None, -5.0, 0.0])
def test_a_negative_retry_after_counts_as_none(none: float | None) -> None:
    assert pacing.asked_for(none, left=0) == 0


@given(
    st.sampled_from(MANNERS),
    st.floats(min_value=0, max_value=900),
    st.floats(min_value=60, max_value=43_200),
    draws,
)
def test_no_wait_lets_a_session_run_out(
    manner: Manner, wish: float, left: float, draw: float
) -> None:
    wait = waits_of(manner, [ALMOST_ONE] * 9 + [draw])[-1]
    assert pacing.asked_for(wish, left=left) + pacing.closing(wait, left=left) < left


@given(st.floats(min_value=10, max_value=300), st.floats(min_value=1, max_value=30))
def test_the_end_of_a_session_is_no_reason_to_hammer(wait: float, left: float) -> None:
    assert pacing.closing(wait, left=left) >= min(wait, pacing.CLOSEST)


def test_with_nothing_held_there_is_nothing_to_save() -> None:
    assert pacing.closing(300.0, left=0) == 300.0


@pytest.mark.parametrize(
    ("seconds", "waits"),
    [(None, 0), (-1, 0), (0, 0), (1, 1), (3600, 3600), (3601, 0), (86_400 * 365, 0)],
)
def test_a_turn_is_waited_for_unless_it_is_over_or_not_believed(
    seconds: float | None, waits: float
) -> None:
    turn = None if seconds is None else START + timedelta(seconds=seconds)
    assert pacing.until_turn(turn, at=START) == waits


@given(st.lists(st.floats(min_value=0, max_value=40), min_size=1, max_size=200))
def test_rotations_are_hurried_after_no_more_often_than_they_are_regained(
    gaps: list[float],
) -> None:
    hurries, now, used = Hurries(), 0.0, 0
    for gap in gaps:
        now += gap
        hurries = hurries.regained(now)
        if hurries.wait == 0:
            hurries, used = hurries.spent(), used + 1
    assert used <= pacing.HURRIES + now / pacing.HURRY_REGAINED + 1e-6


def test_three_rotations_in_a_row_are_all_used_at_once() -> None:
    hurries = Hurries().spent().spent()
    assert hurries.wait == 0
    assert hurries.spent().wait == pacing.HURRY_REGAINED
    assert hurries.spent().regained(20.0).wait == pytest.approx(10.0)
