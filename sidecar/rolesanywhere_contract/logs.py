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
# What JSON takes as it is, and holds no text.
_TEXTLESS: Final = frozenset({type(None), bool, int, float})
# `json.dumps` would make such an encoder for each line.
_encoded: Final = json.JSONEncoder(ensure_ascii=False).encode


class JsonLines(logging.Formatter):
    """One JSON object a record: time, level, logger, event, and the record's extra fields.

    ``redact`` is given every text of the line, and what it answers is written.
    """

    def __init__(self, redact: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self._redact = redact or str
        # Most of a line: to look at each would take as long as all the rest.
        self._as_it_is = _TEXTLESS if redact else _TEXTLESS | {str}

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
        return _encoded(self._plain(line))

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
                return {
                    self._redact(str(name)): of if type(of) in self._as_it_is else self._plain(of)
                    for name, of in value.items()
                }
            case list() | tuple() | set() | frozenset():
                return [one if type(one) in self._as_it_is else self._plain(one) for one in value]
            case bytes() | bytearray():
                # Keys, signatures and DER come as bytes; nobody reads those in a log.
                return f"<{len(value)} bytes>"
            case _:
                return self._redact(str(value))


def configure(level: str, *, stream: TextIO, redact: Callable[[str], str] | None = None) -> None:
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
    logging._srcfile = None
