"""Logs as JSON lines: a constant ``event``, and fields that a program can search by.

One form for all of our programs. Never decides what is worth logging, nor what is a secret: who
holds secrets has every text of a line searched for them.
"""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

_OWN_ATTRIBUTES: Final = frozenset(
    {*vars(logging.LogRecord("", 0, "", 0, "", None, None)), "message", "asctime", "taskName"}
)


class JsonLines(logging.Formatter):
    """One JSON object a record: time, level, logger, event, and the record's extra fields.

    ``redact`` is given every text of the line, and what it answers is written.
    """

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The record on one line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN_ATTRIBUTES},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(self._plain(line), ensure_ascii=False)

    def _plain(self, value: object) -> Any:
        """``value`` in JSON's own types."""
        match value:
            case str() if type(value) is str:  # Most are, and what follows takes time.
                return self._redact(value)
            case None | bool() | int() | float():
                return value
            case datetime():
                return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            case Mapping():
                return {self._redact(str(name)): self._plain(of) for name, of in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._plain(one) for one in value]
            case bytes() | bytearray():
                # Keys, signatures and DER come as bytes; nobody reads those in a log.
                return f"<{len(value)} bytes>"
            case _:
                return self._redact(str(value))


def configure(level: str, *, stream: TextIO, redact: Callable[[str], str] = str) -> None:
    """Send every logger's records from ``level`` on to ``stream``, as JSON lines."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(redact))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # asyncio's debug texts name every socket, and aiohttp's access log every caller.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").disabled = True
    logging.captureWarnings(True)
    # What no line of ours says is not looked up for each (Python's logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
