"""Who may be connected at once, and who makes room when there is none left.

Knows nothing of sockets or HTTP, and has no clock: times are given, in seconds.
"""

from typing import Generic, Protocol, TypeVar


class Member(Protocol):
    """A connection, of which is known since when it has been there, and from where."""

    @property
    def since(self) -> float: ...

    @property
    def peer(self) -> str: ...

    def abort(self) -> None:
        """Close it at once."""
        ...


M = TypeVar("M", bound=Member)


class Crowd(Generic[M]):
    """At most ``limit`` members. Who was answered longest ago makes room for who comes.

    Without anybody answered it is who came first, if not within the last ``grace`` seconds: idle
    connections can lock nobody out for longer, and a burst of honest ones does not lock out itself.
    Of one peer there are at most ``peer_limit``, among which it makes room itself, at once.
    """

    def __init__(self, *, limit: int, grace: float, peer_limit: int | None = None) -> None:
        self._limit = limit
        self._peer_limit = peer_limit
        self._grace = grace
        # Each in the order of its last answer, or else of its arrival.
        self._fresh: dict[M, None] = {}
        self._answered: dict[M, None] = {}

    def __len__(self) -> int:
        return len(self._fresh) + len(self._answered)

    def members(self) -> list[M]:
        """Everybody, as of now."""
        return [*self._answered, *self._fresh]

    def admits(self, newcomer: M, *, at: float) -> bool:
        """Let ``newcomer`` in, if there is room or somebody who makes it."""
        if self._peer_limit is not None:
            of_peer = [member for member in self.members() if member.peer == newcomer.peer]
            if len(of_peer) >= self._peer_limit:
                self._put_out(of_peer[0])
        if len(self) >= self._limit and not self._makes_room(at):
            return False
        self._fresh[newcomer] = None
        return True

    def answered(self, member: M) -> None:
        """Send ``member`` to the end of the queue of those that make room."""
        self.leave(member)
        self._answered[member] = None

    def leave(self, member: M) -> None:
        """Forget ``member``, if it is there."""
        self._answered.pop(member, None)
        self._fresh.pop(member, None)

    def _makes_room(self, at: float) -> bool:
        eldest = next(iter(self._answered), None) or next(iter(self._fresh), None)
        if eldest is None:
            return False
        if eldest in self._fresh and at - eldest.since < self._grace:
            return False
        self._put_out(eldest)
        return True

    def _put_out(self, member: M) -> None:
        self.leave(member)
        member.abort()
