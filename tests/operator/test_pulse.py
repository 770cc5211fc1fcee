"""When the kubelet should start the controller again, though it answers."""

from rolesanywhere_operator.controller.pulse import PATIENCE_SECONDS, WATCH_SECONDS, Pulse


class Clock:
    """A steady clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


def test_a_standby_that_watches_nothing_is_well() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    clock.now += 10 * PATIENCE_SECONDS
    assert pulse.problem() is None


def test_a_leader_is_well_for_as_long_as_kopf_begins_watches() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    for _ in range(10):
        pulse.beat()
        clock.now += PATIENCE_SECONDS
        assert pulse.problem() is None


def test_a_leader_whose_kopf_never_began_or_stopped_to_watch_says_for_how_long() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.beat()
    clock.now += PATIENCE_SECONDS + 1
    assert pulse.problem() == "no watch of bindings was begun for 601 seconds; the log may say why"


def test_a_quiet_cluster_is_not_taken_for_a_dead_watch() -> None:
    """Two watches in a row may be late, say by an API server that is started again."""
    assert 2 * WATCH_SECONDS < PATIENCE_SECONDS
