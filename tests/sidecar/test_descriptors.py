"""How many connections fit into a process's file descriptors."""

import pytest

from rolesanywhere_sidecar.serving.descriptors import LEAST, RESERVE, connections
from rolesanywhere_sidecar.serving.listeners import bounds_within


@pytest.mark.parametrize(
    ("soft", "hard", "fit", "raised"),
    [
        (1024, 4096, 640, None),
        (256, 4096, 640, 640 + RESERVE),
        (256, -1, 640, 640 + RESERVE),
        (256, 512, 512 - RESERVE, 512),
        (256, 256, 256 - RESERVE, 256),
        (64, 64, LEAST, 64),
        (-1, -1, 640, None),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_the_hard_one_lets_us(
    soft: int, hard: int, fit: int, raised: int | None
) -> None:
    given: list[tuple[int, int]] = []
    assert connections(640, limits=lambda: (soft, hard), limit=given.append) == fit
    assert given == ([] if raised is None else [(raised, hard)])


@pytest.mark.parametrize("total", [640, 384, LEAST])
def test_both_ports_together_have_no_more_connections_than_that(total: int) -> None:
    front, probes = bounds_within(total)
    assert front.connections + probes.connections == total
    assert probes.connections > 1
    assert probes.peer_connections
    assert probes.peer_connections < probes.connections
