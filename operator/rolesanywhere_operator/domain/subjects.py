"""The subject of a certificate as text (RFC 4514), read for its common names.

Never sees the certificate: text is what a binding's status holds.
"""

import re
from collections.abc import Iterator
from typing import Final

# Attributes, between commas and plus signs that no backslash escapes (RFC 4514, section 3).
_ATTRIBUTE: Final = re.compile(r"(?:\\.|[^\\,+])+", re.DOTALL)
# A value without the spaces around it; one that a backslash escapes is its own.
_VALUE: Final = re.compile(r" *((?:\\.|[^\\])*?) *", re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(?:([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_COMMON_NAME: Final = frozenset({"CN", "2.5.4.3"})


def common_names(subject: str) -> Iterator[str]:
    """Every common name in ``subject``, unescaped; those that are not text are left out."""
    for attribute in _ATTRIBUTE.findall(subject):
        kind, _, rest = attribute.partition("=")
        value = _VALUE.fullmatch(rest)
        if value and kind.strip().upper() in _COMMON_NAME and value[1] and value[1][0] != "#":
            yield _unescaped(value[1])


def _unescaped(value: str) -> str:
    def meaning(match: re.Match[bytes]) -> bytes:
        return bytes.fromhex(match[1].decode()) if match[1] else match[2]

    return _ESCAPED.sub(meaning, value.encode()).decode(errors="replace")
