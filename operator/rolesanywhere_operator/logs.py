"""Logs as JSON lines on stderr: a constant ``event``, and fields that a program can search by.

The operator holds no key and no credential, so there is nothing here to redact. Never decides
what is worth logging.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

_OWN_ATTRIBUTES: Final = frozenset(
    {*vars(logging.LogRecord("", 0, "", 0, "", None, None)), "message", "asctime", "taskName"}
)


class JsonLines(logging.Formatter):
    """One JSON object a record: time, level, logger, event, and the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record on one line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN_ATTRIBUTES},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(level: str, *, stream: TextIO | None = None) -> None:
    """Send every logger's records from ``level`` on to ``stream`` (stderr), as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # asyncio's debug texts name every socket, and aiohttp's access log says less than our own.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").disabled = True
    logging.captureWarnings(True)
