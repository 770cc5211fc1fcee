"""Secrets kept out of texts, and so out of the log.

They are kept out by type first, since nothing that holds one prints it; then every text of a log
line is searched here for what slipped through.
"""

import re
from collections import deque
from typing import Final

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
    # A PIN in a URI (RFC 7512, section 2.4): all up to what cannot be in one.
    re.compile(r"(pin[-_]value=)[^\s\"'<>]+", re.IGNORECASE),
    # A session token, or a key's base64, by its length alone.
    re.compile(r"()[A-Za-z0-9+/=_-]{100,}"),
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
