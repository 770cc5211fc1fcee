"""How long the API server waits for an answer, as it says itself.

Its calls carry ``?timeout=10s``, a Go duration (Go's time.ParseDuration; Kubernetes docs, "Dynamic
Admission Control", Timeouts). Never waits: whoever does is told how long.
"""

import re
from typing import Final

# What the API server waits where a configuration does not say.
USUAL_SECONDS: Final = 10.0
# The longest that a configuration can say.
_LONGEST_SECONDS: Final = 30.0
# The rest is for the way to us and back.
_OURS: Final = 0.8

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(h|ms|us|µs|ns|m|s)")


def patience(given: str | None) -> float:
    """The seconds that we may take, of the ``given`` duration; of the usual, if it is none."""
    return _OURS * min(_seconds(given or ""), _LONGEST_SECONDS)


def _seconds(text: str) -> float:
    parts = _PART.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        return USUAL_SECONDS
    return sum(float(number) * _UNITS[unit] for number, unit in parts) or USUAL_SECONDS
