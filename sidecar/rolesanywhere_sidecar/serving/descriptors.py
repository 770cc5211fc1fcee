"""How many connections the process may have: each is a file descriptor, of which it has so many.

Without a bound below that, whoever holds connections open keeps us from reading a certificate.
"""

import resource
from collections.abc import Callable
from typing import Final

# For what is no connection: files, sockets towards AWS, the event loop's own.
RESERVE: Final = 128
# Served however few descriptors there are.
LEAST: Final = 16

Limits = tuple[int, int]


def connections(
    wanted: int,
    *,
    limits: Callable[[], Limits] = lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
    limit: Callable[[Limits], None] = lambda to: resource.setrlimit(resource.RLIMIT_NOFILE, to),
) -> int:
    """How many of the ``wanted`` fit, the soft limit raised as far as needed and allowed."""
    soft, hard = limits()
    needed = wanted + RESERVE
    if 0 <= soft < needed:
        soft = needed if hard < 0 else min(needed, hard)
        limit((soft, hard))
    return wanted if soft < 0 else max(LEAST, min(wanted, soft - RESERVE))
