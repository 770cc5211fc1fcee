"""Ports for servers that a test starts and has to tell where to listen.

Never such as the kernel gives away by itself: what is free when a test looks is free when its
server listens, though other tests start servers at the same time.
"""

import os
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

# Below net.ipv4.ip_local_port_range, and a slice for each process that shares the tests of a tier.
_FIRST: Final = 10_000
_SLICE: Final = 1_300
_SLICES: Final = 16

_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def _in_turn() -> Iterator[int]:
    """The ports of our slice, again and again: one that was given comes back last."""
    lowest = _FIRST + _SLICE * (_WORKER % _SLICES)
    # Another run of tests on this machine begins elsewhere, more likely than not.
    at = random.randrange(_SLICE)  # noqa: S311 - no secret
    while True:
        yield lowest + at
        at = (at + 1) % _SLICE


_PORTS: Final = _in_turn()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on, and nobody else was given."""
    for port in _PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("the ports are endless")
