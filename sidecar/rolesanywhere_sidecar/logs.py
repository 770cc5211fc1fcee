"""Logs as JSON lines on stderr, in which a secret cannot appear.

A line is a constant ``event`` and fields. Secrets are kept out by type first, since nothing that
holds one prints it; then every text of a line is searched for what slipped through. Never decides
what is worth logging.
"""

import json
import logging
import re
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

REDACTED: Final = "[redacted]"

# Texts shorter than this are no secrets of ours, and redacting one would eat half the log.
_SHORTEST_SECRET: Final = 16
# Each session brings two; a few sessions back is as long as a text can linger.
_REMEMBERED: Final = 32

# What a secret looks like to somebody who was not told of it; the first group is left standing.
_SHAPES: Final = (
    re.compile(
        r"()-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)",
        re.DOTALL,
    ),
    # What follows a name that says so: in JSON, in a header, in a repr.
    re.compile(
        r"((?:secret_?access_?key|session_?token|authorization)\W{1,8})[A-Za-z0-9+/=_-]{16,}",
        re.IGNORECASE,
    ),
    # A session token, or a key's base64, by its length alone.
    re.compile(r"()[A-Za-z0-9+/=_-]{100,}"),
)

_OWN_ATTRIBUTES: Final = frozenset(
    {*vars(logging.LogRecord("", 0, "", 0, "", None, None)), "message", "asctime", "taskName"}
)


class Redaction:
    """Replaces secrets in a text: those it was told of, and what has the shape of one."""

    def __init__(self) -> None:
        self._lasting: set[str] = set()
        self._passing: deque[str] = deque(maxlen=_REMEMBERED)

    def learn(self, *secrets: str, lasting: bool = False) -> None:
        """Never let these be logged, whatever they look like.

        Those that are not ``lasting`` are forgotten, oldest first, when many more were learned.
        """
        learned = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
        if lasting:
            self._lasting.update(learned)
        else:
            self._passing.extend(learned)

    def __call__(self, text: str) -> str:
        for secret in (*self._lasting, *self._passing):
            text = text.replace(secret, REDACTED)
        for shape in _SHAPES:
            text = shape.sub(rf"\1{REDACTED}", text)
        return text


class JsonLines(logging.Formatter):
    """One JSON object a record: time, level, logger, event, and the record's extra fields."""

    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self._redaction = redaction

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
        """``value`` in JSON's own types, every text of it searched for secrets."""
        match value:
            case None | bool() | int() | float():
                return value
            case datetime():
                return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            case Mapping():
                return {self._redaction(str(name)): self._plain(of) for name, of in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._plain(one) for one in value]
            case bytes() | bytearray():
                # Keys, signatures and DER come as bytes; nobody reads those in a log.
                return f"<{len(value)} bytes>"
            case _:
                return self._redaction(str(value))


def configure(level: str, *, redaction: Redaction, stream: TextIO | None = None) -> None:
    """Send every logger's records from ``level`` on to ``stream``, or stderr, as JSON lines."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(redaction))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # asyncio's debug texts name every socket, and aiohttp's access log every caller.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").disabled = True
    logging.captureWarnings(True)
