"""Lengths of time as Go and cert-manager spell them, such as 1h30m.

Never reads parts of a second, nor signs: no certificate needs them.
"""

import re
from typing import Final

_DURATION: Final = re.compile(r"(?:[0-9]{1,6}[hms]){1,3}")
_PART: Final = re.compile(r"([0-9]+)([hms])")
_SECONDS: Final = {"h": 3600, "m": 60, "s": 1}


class InvalidDuration(ValueError):
    """A text is no duration."""


def seconds(text: str) -> int:
    """How long ``text`` is, in seconds. Raises `InvalidDuration`."""
    if not _DURATION.fullmatch(text):
        raise InvalidDuration(f"{text!r} is not a duration, expected one such as 24h or 1h30m")
    return sum(int(count) * _SECONDS[unit] for count, unit in _PART.findall(text))
