"""The log as a program writes it, for tests that read it back."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rolesanywhere_contract import logs


@dataclass(frozen=True, slots=True)
class Written:
    """A log so far."""

    stream: io.StringIO = field(default_factory=io.StringIO)

    def text(self) -> str:
        """All of it, as it was written."""
        return self.stream.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        """Each line's fields."""
        return [json.loads(line) for line in self.text().splitlines()]


@contextmanager
def written(
    level: str = "debug", *, redact: Callable[[str], str] | None = None
) -> Iterator[Written]:
    """What is logged from ``level`` on, for the length of the block."""
    root = logging.getLogger()
    handlers, before = root.handlers[:], root.level
    log = Written()
    logs.configure(level, stream=log.stream, redact=redact)
    try:
        yield log
    finally:
        root.handlers[:] = handlers
        root.setLevel(before)
        logging.captureWarnings(False)
