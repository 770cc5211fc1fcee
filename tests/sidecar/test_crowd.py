"""Who may stay when there is no room left."""

from dataclasses import dataclass

from rolesanywhere_sidecar.serving.crowd import Crowd


@dataclass(eq=False)
class Guest:
    since: float
    peer: str = ""
    is_gone: bool = False

    def abort(self) -> None:
        self.is_gone = True


def a_crowd(*arrivals: float, limit: int = 3) -> tuple[Crowd[Guest], list[Guest]]:
    crowd: Crowd[Guest] = Crowd(limit=limit, grace=1.0)
    guests = [Guest(since) for since in arrivals]
    for guest in guests:
        assert crowd.admits(guest, at=guest.since)
    return crowd, guests


def test_the_longest_idle_of_those_who_were_answered_makes_room_first() -> None:
    crowd, guests = a_crowd(0, 1, 2)
    for number in (2, 1, 2):
        crowd.answered(guests[number])
    assert crowd.admits(Guest(3), at=3)
    assert [guest.is_gone for guest in guests] == [False, True, False]
    assert len(crowd) == 3


def test_else_the_eldest_that_never_asked() -> None:
    crowd, guests = a_crowd(0, 1, 2)
    assert crowd.admits(Guest(3), at=3)
    assert [guest.is_gone for guest in guests] == [True, False, False]


def test_but_nobody_who_came_a_moment_ago() -> None:
    crowd, guests = a_crowd(2.5, 2.5, 2.5)
    assert not crowd.admits(Guest(3), at=3)
    assert not any(guest.is_gone for guest in guests)
    assert len(crowd) == 3


def test_a_flood_of_idle_ones_locks_nobody_out_for_longer_than_that() -> None:
    crowd, _ = a_crowd(*[0.0] * 3)
    for step in range(1, 100):
        crowd.admits(Guest(step / 10), at=step / 10)  # the flood goes on
        if step % 12 == 0:
            honest = Guest(step / 10)
            waited = next(
                wait for wait in range(20) if crowd.admits(honest, at=step / 10 + wait / 10)
            )
            assert waited <= 11


def test_who_left_is_forgotten() -> None:
    crowd, guests = a_crowd(0, 1)
    crowd.answered(guests[0])
    for guest in (*guests, guests[0]):
        crowd.leave(guest)
    assert not crowd
    assert crowd.members() == []


def test_without_grace_who_comes_is_always_let_in_and_the_eldest_goes() -> None:
    crowd: Crowd[Guest] = Crowd(limit=3, grace=0.0)
    guests = [Guest(0) for _ in range(4)]
    assert all(crowd.admits(guest, at=0) for guest in guests)
    assert [guest.is_gone for guest in guests] == [True, False, False, False]


def test_one_peer_makes_room_for_itself_and_cannot_put_out_another() -> None:
    crowd: Crowd[Guest] = Crowd(limit=100, grace=0.0, peer_limit=2)
    kubelet = Guest(0, peer="10.0.0.1")
    crowd.admits(kubelet, at=0)
    flood = [Guest(0, peer="10.9.9.9") for _ in range(500)]
    assert all(crowd.admits(guest, at=0) for guest in flood)
    assert not kubelet.is_gone
    assert [guest for guest in flood if not guest.is_gone] == flood[-2:]
    assert len(crowd) == 3
