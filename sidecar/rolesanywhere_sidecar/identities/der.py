"""DER and BER, as far as telling containers of keys apart asks for it (ITU-T X.690).

Reads lengths and tags, and never what is inside: keys and certificates are parsed by
``cryptography``. Raises `Malformed` alone, whatever it is given, and looks at no byte too often.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
SEQUENCE: Final = 0x30

# No container that we look into has more parts than that: PKCS#12 has a dozen.
MOST_CHILDREN: Final = 1024

# Two gigabytes and more: nothing that was read whole from a file is that long.
_LONGEST_LENGTH: Final = 4

# A length that only the two zeros after the content tell (BER, section 8.1.3.6). Whoever nests
# more of them than containers do wants to see us run out of stack.
_INDEFINITE: Final = 0x80
_CONSTRUCTED: Final = 0x20
_DEEPEST: Final = 16


class Malformed(ValueError):
    """These bytes are not DER."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its tag, and its content without tag and length."""

    tag: int
    content: bytes = field(repr=False)

    def children(self, most: int = MOST_CHILDREN) -> tuple["Element", ...]:
        """The first ``most`` of the elements that the content is made of."""
        return tuple(islice(_elements(self.content), most))

    def number(self) -> int:
        """The value of an INTEGER."""
        if self.tag != INTEGER or not self.content:
            raise Malformed("not an INTEGER")
        return int.from_bytes(self.content, "big", signed=True)

    def octets(self) -> bytes:
        """The value of an OCTET STRING, which BER may have in parts."""
        if self.tag == OCTET_STRING | _CONSTRUCTED:
            return b"".join(part.octets_of_part() for part in _elements(self.content))
        return self.octets_of_part()

    def octets_of_part(self) -> bytes:
        """The value of an OCTET STRING in one piece."""
        if self.tag != OCTET_STRING:
            raise Malformed("not an OCTET STRING")
        return self.content


def parse(data: bytes) -> Element:
    """The one element that ``data`` is."""
    element, end = _read(data, 0)
    if end != len(data):
        raise Malformed("bytes after the end")
    return element


def leading(data: bytes) -> bytes:
    """The bytes of the first element, with its tag and length; what follows is left out."""
    _, end = _read(data, 0)
    return data[:end]


def looks_like_one(data: bytes) -> bool:
    """Whether ``data`` is a SEQUENCE, or begins as a long one does and no text could."""
    if data[:1] != bytes([SEQUENCE]):
        return False
    try:
        return bool(parse(data))
    except Malformed:
        return data[1:2] >= b"\x80"


def _elements(data: bytes) -> Iterator[Element]:
    at = 0
    while at < len(data):
        element, at = _read(data, at)
        yield element


def _read(data: bytes, at: int) -> tuple[Element, int]:
    """The element that begins ``at``, and where it ends."""
    start, end, after = _extent(data, at, depth=0)
    return Element(data[at], data[start:end]), after


def _extent(data: bytes, at: int, *, depth: int) -> tuple[int, int, int]:
    """Where the content of the element ``at`` begins and ends, and where the element does."""
    if len(data) < at + 2:
        raise Malformed("too short")
    length, start = data[at + 1], at + 2
    if length == _INDEFINITE and data[at] & _CONSTRUCTED:
        end = _end_of_contents(data, start, depth=depth + 1)
        return start, end, end + 2
    if length >= 0x80:
        size = length - 0x80
        if not 1 <= size <= _LONGEST_LENGTH or len(data) < start + size:
            raise Malformed("no length that is sound")
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    if start + length > len(data):
        raise Malformed("cut short")
    return start, start + length, start + length


def _end_of_contents(data: bytes, at: int, *, depth: int) -> int:
    if depth > _DEEPEST:
        raise Malformed("too deep")
    while data[at : at + 2] != b"\0\0":
        at = _extent(data, at, depth=depth)[2]
    return at
