"""How parent and child speak: a length in four bytes, then JSON in which bytes are hexadecimal.

Both ends load it, so it loads little. JSON, because the child runs somebody else's code: what it
says is data to its parent, whatever it says.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

Message = Mapping[str, Any]

# All certificates of a token are the most that is ever said.
LARGEST_FRAME: Final = 4 * 1024 * 1024

_LENGTH_BYTES: Final = 4
_HEX: Final = "hex"


class BrokenFrame(Exception):
    """What came is no message."""


def encode(message: Message) -> bytes:
    """``message`` as it goes over the wire. Raises `BrokenFrame` for one that is too large."""
    body = _ENCODER.encode(message).encode()
    if len(body) > LARGEST_FRAME:
        raise BrokenFrame(f"a message of {len(body)} bytes, expected {LARGEST_FRAME} at most")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def read(receive: Callable[[int], bytes]) -> Message | None:
    """The next message; None when the other end has closed between two.

    ``receive`` gives so many bytes at most, and none at the end. Raises `BrokenFrame`, and what
    ``receive`` raises.
    """
    head = _exactly(_LENGTH_BYTES, receive)
    if not head:
        return None
    length = int.from_bytes(head, "big")
    if len(head) < _LENGTH_BYTES or length > LARGEST_FRAME:
        raise BrokenFrame("a frame's length that cannot be")
    body = _exactly(length, receive)
    if len(body) < length:
        raise BrokenFrame("a frame that ends early")
    return _message(body)


def _message(body: bytes) -> Message:
    try:
        message = _DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        raise BrokenFrame("a frame that is not JSON") from None
    if not isinstance(message, dict):
        raise BrokenFrame("a frame that holds no message")
    return message


def _exactly(count: int, receive: Callable[[int], bytes]) -> bytes:
    """So many bytes, or fewer where they end."""
    parts: list[bytes] = []
    while count and (part := receive(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _bytes_as_text(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(f"no message holds a {type(value).__name__}")
    return {_HEX: value.hex()}


def _text_as_bytes(found: dict[str, Any]) -> Any:
    if found.keys() == {_HEX}:
        return bytes.fromhex(found[_HEX]) if isinstance(found[_HEX], str) else found
    return found


# Made once: a signature is two messages, and each `json.dumps` would make its own.
_ENCODER: Final = json.JSONEncoder(default=_bytes_as_text, separators=(",", ":"))
_DECODER: Final = json.JSONDecoder(object_hook=_text_as_bytes)
