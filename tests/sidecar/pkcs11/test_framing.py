"""What parent and child say to each other, and what comes of nonsense."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_sidecar.identities.pkcs11.framing import (
    LARGEST_FRAME,
    BrokenFrame,
    Message,
    encode,
    read,
)

# Small: what matters is the kinds of values and how they nest.
plain = st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=4)
names = st.text(min_size=4, max_size=6)
values = st.recursive(
    plain,
    lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(names, deeper, max_size=2),
    max_leaves=4,
)
messages = st.dictionaries(names, values, max_size=3)


def wire(data: bytes, *, at_most: int = 1 << 20) -> Callable[[int], bytes]:
    """As a socket gives it: in parts of any size."""
    left = bytearray(data)

    def receive(count: int) -> bytes:
        part = bytes(left[: min(count, at_most)])
        del left[: len(part)]
        return part

    return receive


@settings(max_examples=50)
@given(st.lists(messages, max_size=3), st.integers(1, 9))
def test_messages_come_as_they_went_whatever_the_wire_makes_of_them(
    sent: list[Message], at_most: int
) -> None:
    receive = wire(b"".join(map(encode, sent)), at_most=at_most)
    assert [read(receive) for _ in sent] == sent
    assert read(receive) is None


@given(st.binary())
def test_nonsense_is_a_broken_frame_or_nothing_at_all(data: bytes) -> None:
    try:
        message = read(wire(data))
    except BrokenFrame:
        return
    assert message is None or isinstance(message, dict)


@settings(max_examples=50)
@given(messages, st.data())
def test_a_frame_that_ends_early_is_broken(message: Message, data: st.DataObject) -> None:
    whole = encode(message)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(BrokenFrame):
        read(wire(whole[:cut]))


def test_no_length_fills_the_memory() -> None:
    with pytest.raises(BrokenFrame, match="length that cannot be"):
        read(wire((LARGEST_FRAME + 1).to_bytes(4, "big")))
    with pytest.raises(BrokenFrame, match="expected 4194304 at most"):
        encode({"too": "long" * LARGEST_FRAME})


def test_what_is_no_message_is_broken() -> None:
    for body in (b"[1]", b"null", b'"text"', b"[" * 100_000):
        with pytest.raises(BrokenFrame):
            read(wire(len(body).to_bytes(4, "big") + body))


def test_a_secret_of_another_type_is_not_sent_by_mistake() -> None:
    with pytest.raises(TypeError, match="no message holds a bytearray"):
        encode({"pin": bytearray(b"1234")})
