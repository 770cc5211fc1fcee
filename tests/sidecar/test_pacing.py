"""When to renew and how long to wait, as arithmetic."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_sidecar import pacing
from tests.support.clocks import START
from tests.support.sessions import some_credentials

draws = st.floats(min_value=0, max_value=1, exclude_max=True)
lives = st.integers(min_value=900, max_value=43_200)
ALMOST_ONE = 1 - 2**-53


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


@given(st.integers(min_value=1, max_value=10_000_000), draws)
def test_what_time_heals_is_asked_again_between_one_and_sixty_seconds_later(
    failures: int, draw: float
) -> None:
    wait = pacing.backoff(failures, retryable=True, draw=draw)
    assert pacing.FIRST_BACKOFF <= wait <= pacing.LONGEST_BACKOFF


@given(st.integers(min_value=1, max_value=10_000_000), draws)
def test_what_waits_for_somebody_to_act_is_asked_again_slowly(failures: int, draw: float) -> None:
    wait = pacing.backoff(failures, retryable=False, draw=draw)
    assert pacing.FIRST_SLOW_BACKOFF <= wait <= pacing.LONGEST_SLOW_BACKOFF


def test_waits_grow_with_each_failure_until_the_cap() -> None:
    waits = [pacing.backoff(n, retryable=True, draw=ALMOST_ONE) for n in range(1, 9)]
    assert [round(wait) for wait in waits] == [2, 4, 8, 16, 32, 60, 60, 60]


def test_the_whole_span_is_jittered() -> None:
    assert pacing.backoff(8, retryable=True, draw=0.0) == pytest.approx(pacing.FIRST_BACKOFF)
    assert pacing.backoff(8, retryable=True, draw=0.5) == pytest.approx(30.5)


@given(st.floats(min_value=0, max_value=900), draws)
def test_retry_after_is_the_least_that_is_waited(asked_for: float, draw: float) -> None:
    assert pacing.backoff(1, retryable=True, retry_after=asked_for, draw=draw) > asked_for


def test_sidecars_told_the_same_retry_after_do_not_return_together() -> None:
    early, late = (
        pacing.backoff(6, retryable=True, retry_after=30.0, draw=draw) for draw in (0.0, 0.9)
    )
    assert late - early > 10


@pytest.mark.parametrize("nonsense", [86_400.0, 1e300, float("inf")])
def test_a_retry_after_of_a_day_is_not_believed(nonsense: float) -> None:
    wait = pacing.backoff(1, retryable=True, retry_after=nonsense, draw=0.0)
    assert wait <= pacing.LONGEST_RETRY_AFTER + pacing.FIRST_BACKOFF


def test_a_negative_retry_after_counts_as_none() -> None:
    assert pacing.backoff(1, retryable=True, retry_after=-5.0, draw=0.0) == pacing.FIRST_BACKOFF
