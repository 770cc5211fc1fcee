"""PEM blocks in a file, whatever stands around them (RFC 7468).

Comments, other blocks, CRLF, a byte order mark and UTF-16 do not matter. Never looks into what a
block holds.
"""

import base64
import binascii
import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_EDGE = re.compile(rb"-----(?P<edge>BEGIN|END) (?P<label>[A-Z0-9 ]+)-----")
# "Proc-Type: 4,ENCRYPTED" and its like, which RFC 1421 puts before an empty line.
_HEADERS = re.compile(rb"\A\s*(?:[A-Za-z0-9-]+:[^\n]*\n(?:[ \t][^\n]*\n)*)+")
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Block:
    """One block: ``text`` is all of it, from its BEGIN line to its END line."""

    label: str
    text: bytes = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_encrypted(self) -> bool:
        """Whether its headers say that it is, as OpenSSL wrote keys before PKCS#8."""
        return b"Proc-Type: 4,ENCRYPTED" in self.body

    def decoded(self) -> bytes:
        """What it holds. Raises ValueError where that is not base64."""
        text = b"".join(_HEADERS.sub(b"", self.body).split())
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            raise ValueError("not base64") from None


def blocks(content: bytes) -> tuple[Block, ...]:
    """Every complete block, in order; one in which another begins has no end."""
    return tuple(_complete(_plain(content)))


def begun(content: bytes) -> tuple[str, ...]:
    """The label of every block that begins, whether or not it ends."""
    return tuple(label.decode() for label in _BEGIN.findall(_plain(content)))


def _complete(content: bytes) -> Iterator[Block]:
    """In one pass: to look for the end of each block that has none would take for ever."""
    begin: re.Match[bytes] | None = None
    for edge in _EDGE.finditer(content):
        if edge["edge"] == b"BEGIN":
            begin = edge
        elif begin is not None:
            if edge["label"] == begin["label"]:
                text = content[begin.start() : edge.end()]
                body = content[begin.end() : edge.start()]
                yield Block(edge["label"].decode(), text, body)
            begin = None


def _plain(content: bytes) -> bytes:
    if content.startswith(_UTF_16):
        return content.decode("utf-16", errors="replace").encode("ascii", errors="replace")
    return content
