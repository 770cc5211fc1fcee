"""Many sidecars that start at once against ten sessions a second, in virtual time."""

import pytest

from tests.support.fleets import QUOTA, Story, apart, lived, simulated, turns_for


def at_once(sidecars: int) -> Story:
    return simulated(sidecars, [None] * sidecars)


def in_turn(sidecars: int) -> Story:
    return simulated(sidecars, turns_for(sidecars, seed=1))


@pytest.mark.parametrize("sidecars", [1, 10])
def test_as_many_as_the_service_takes_at_once_are_ready_at_once(sidecars: int) -> None:
    story = at_once(sidecars)
    assert story.calls_each == 1
    assert story.ready(1.0) < 0.2


def test_in_turn_a_fleet_is_ready_near_the_limit_with_one_call_each() -> None:
    story = in_turn(2000)
    assert story.calls_each <= 1.2
    assert story.ready(1.0) <= 1.15 * 2000 / QUOTA + 10


@pytest.mark.parametrize("sidecars", [100, 1000])
def test_without_turns_a_fleet_wastes_no_more_than_its_logarithm(sidecars: int) -> None:
    story = at_once(sidecars)
    assert story.calls_each <= 1 + 2 * (len(str(sidecars)) - 1)
    assert story.ready(0.5) <= 1.1 * 0.5 * sidecars / QUOTA
    assert story.ready(1.0) <= 2 * sidecars / QUOTA


def test_what_throttling_teaches_thins_a_crowd_out() -> None:
    """In the last third of a cold start hardly more is asked than is granted."""
    story = at_once(3000)
    late = [call for call in story.calls if call.at > 200]
    assert len(late) < 1.1 * sum(call.granted for call in late)


@pytest.mark.parametrize("turns", [[None] * 60, turns_for(60, seed=1)], ids=["at-once", "in-turn"])
async def test_real_brokers_live_the_story_that_arithmetic_tells(turns: list[None]) -> None:
    seconds = apart(simulated(60, turns), await lived(60, turns))
    assert seconds is not None
    assert seconds < 0.001
