"""Waiting for something to come true, in tests that talk to real processes."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

# Two clusters and two tiers may share two cores. Only a test that fails waits for so long.
PATIENCE_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1


class NeverHappened(AssertionError):
    """What a test waited for did not come; the text says what it was."""


def eventually(what: str, look: Callable[[], Any], *, within: float = PATIENCE_SECONDS) -> Any:
    """What ``look`` finds as soon as it finds something. Raises `NeverHappened`."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(POLL_SECONDS)
    raise NeverHappened(f"not within {within} seconds: {what}")


def runs(pid: int) -> bool:
    """Whether that process does; one that has ended and that nobody has reaped does not."""
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
