"""DER, as far as telling containers of keys apart asks for it (ITU-T X.690, section 10).

Reads lengths and tags, and never what is inside: keys and certificates are parsed by
``cryptography``. Raises `Malformed` alone, whatever it is given.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
SEQUENCE: Final = 0x30

# Two gigabytes and more: nothing that was read whole from a file is that long.
_LONGEST_LENGTH: Final = 4


class Malformed(ValueError):
    """These bytes are not DER."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its tag, and its content without tag and length."""

    tag: int
    content: bytes = field(repr=False)

    def children(self) -> tuple["Element", ...]:
        """The elements that the content is made of."""
        return tuple(_elements(self.content))

    def number(self) -> int:
        """The value of an INTEGER."""
        if self.tag != INTEGER or not self.content:
            raise Malformed("not an INTEGER")
        return int.from_bytes(self.content, "big", signed=True)

    def octets(self) -> bytes:
        """The value of an OCTET STRING."""
        if self.tag != OCTET_STRING:
            raise Malformed("not an OCTET STRING")
        return self.content


def parse(data: bytes) -> Element:
    """The one element that ``data`` is."""
    element, rest = _read(data)
    if rest:
        raise Malformed("bytes after the end")
    return element


def leading(data: bytes) -> bytes:
    """The bytes of the first element, with its tag and length; what follows is left out."""
    _, rest = _read(data)
    return data[: len(data) - len(rest)]


def looks_like_one(data: bytes) -> bool:
    """Whether ``data`` is a SEQUENCE, or begins as a long one does and no text could."""
    if data[:1] != bytes([SEQUENCE]):
        return False
    try:
        return bool(parse(data))
    except Malformed:
        return data[1:2] >= b"\x80"


def _elements(data: bytes) -> Iterator[Element]:
    while data:
        element, data = _read(data)
        yield element


def _read(data: bytes) -> tuple[Element, bytes]:
    if len(data) < 2:
        raise Malformed("too short")
    tag, length, start = data[0], data[1], 2
    if length >= 0x80:
        size = length - 0x80
        if not 1 <= size <= _LONGEST_LENGTH or len(data) < 2 + size:
            raise Malformed("no definite length")
        length, start = int.from_bytes(data[2 : 2 + size], "big"), 2 + size
    end = start + length
    if end > len(data):
        raise Malformed("cut short")
    return Element(tag, data[start:end]), data[end:]
