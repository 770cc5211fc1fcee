"""Our parser of PKCS#11 URIs beside p11-kit's, on the same texts and the same tokens.

Where we take a text, p11-kit must take it and understand the same. It takes more than RFC 7512
allows: each way in which it does is listed here, and nothing else may tell the two apart.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.pkcs11uri import InvalidPkcs11Uri, ObjectType, Pkcs11Uri
from rolesanywhere_sidecar.identities.pkcs11.facts import TokenFacts, fits
from tests.hardware import packages
from tests.support import debian
from tests.support.tools import build_or_skip

# Enough to meet each disagreement below; thousands were tried when this was written.
CASES: Final = 200

FOR_ANY: Final = 0xFFFF
CKA_CLASS: Final = 0x00
CKA_LABEL: Final = 0x03
CKA_ID: Final = 0x102
CLASSES: Final[tuple[ObjectType, ...]] = ("data", "cert", "public", "private", "secret-key")
NO_SLOT: Final = 2 ** (8 * ctypes.sizeof(ctypes.c_ulong)) - 1

# What is ours alone to refuse, by our own words: p11-kit takes any character and any bytes, blanks
# and line ends too, which it drops; empty attributes and the same one again; a PIN where an old
# draft had it, twice or nowhere; numbers that are none, or too large.
STRICTER: Final = (
    "that must be encoded, or a stray %",
    "has no <name>=<value> as",
    "that is not UTF-8",
    "has a zero byte",
    " twice",
    "has both a pin-source and a pin-value",
    "has an empty pin-",
    "has a PIN before its ?",
    "has a slot-id that is no slot's number",
    "has a library-version that is none",
    "has a type that is none",
)


class Attribute(ctypes.Structure):
    """CK_ATTRIBUTE."""

    _fields_ = (
        ("type", ctypes.c_ulong),
        ("value", ctypes.c_void_p),
        ("length", ctypes.c_ulong),
    )


class TokenInfo(ctypes.Structure):
    """CK_TOKEN_INFO, of which only the beginning matters."""

    _fields_ = (
        ("token", ctypes.c_char * 32),
        ("manufacturer", ctypes.c_char * 32),
        ("model", ctypes.c_char * 16),
        ("serial", ctypes.c_char * 16),
        ("rest", ctypes.c_char * 256),
    )

    @classmethod
    def of(cls, facts: TokenFacts) -> "TokenInfo":
        """Padded as a module pads."""
        sizes = {"token": 32, "manufacturer": 32, "model": 16, "serial": 16}
        return cls(
            **{name: getattr(facts, name).encode().ljust(size) for name, size in sizes.items()}
        )


class P11Kit:
    """libp11-kit's URI functions."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL("libp11-kit.so.0")
        for name, result, arguments in (
            ("new", ctypes.c_void_p, ()),
            ("free", None, (ctypes.c_void_p,)),
            ("parse", ctypes.c_int, (ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p)),
            ("any_unrecognized", ctypes.c_int, (ctypes.c_void_p,)),
            ("match_token_info", ctypes.c_int, (ctypes.c_void_p, ctypes.POINTER(TokenInfo))),
            ("get_token_info", ctypes.POINTER(TokenInfo), (ctypes.c_void_p,)),
            ("get_attribute", ctypes.POINTER(Attribute), (ctypes.c_void_p, ctypes.c_ulong)),
            ("get_slot_id", ctypes.c_ulong, (ctypes.c_void_p,)),
            ("get_pin_value", ctypes.c_char_p, (ctypes.c_void_p,)),
            ("get_pin_source", ctypes.c_char_p, (ctypes.c_void_p,)),
            ("get_module_name", ctypes.c_char_p, (ctypes.c_void_p,)),
            ("get_module_path", ctypes.c_char_p, (ctypes.c_void_p,)),
        ):
            function = getattr(self._lib, f"p11_kit_uri_{name}")
            function.restype, function.argtypes = result, arguments

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lib, f"p11_kit_uri_{name}")

    def parse_text(self, text: str) -> "Understood | None":
        """What it makes of ``text``; None where it refuses."""
        uri = self.new()
        try:
            return None if self.parse(text.encode(), FOR_ANY, uri) else self._understood(uri)
        finally:
            self.free(uri)

    def means(self, text: str, token: TokenFacts) -> bool:
        """Whether it takes ``token`` for what ``text`` names."""
        uri = self.new()
        try:
            assert self.parse(text.encode(), FOR_ANY, uri) == 0
            return bool(self.match_token_info(uri, ctypes.byref(TokenInfo.of(token))))
        finally:
            self.free(uri)

    def _understood(self, uri: int) -> "Understood":
        kind = self._attribute(uri, CKA_CLASS)
        slot_id = self.get_slot_id(uri)
        return Understood(
            unrecognized=bool(self.any_unrecognized(uri)),
            object=self._attribute(uri, CKA_LABEL),
            id=self._attribute(uri, CKA_ID),
            type=None if kind is None else CLASSES[int.from_bytes(kind, "little")],
            slot_id=None if slot_id == NO_SLOT else slot_id,
            pin_value=self.get_pin_value(uri),
            pin_source=self.get_pin_source(uri),
            module_name=self.get_module_name(uri),
            module_path=self.get_module_path(uri),
        )

    def _attribute(self, uri: int, kind: int) -> bytes | None:
        found = self.get_attribute(uri, kind)
        return ctypes.string_at(found[0].value, found[0].length) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """What can be asked of a URI that p11-kit has parsed; texts are bytes there."""

    unrecognized: bool
    object: bytes | None
    id: bytes | None
    type: ObjectType | None
    slot_id: int | None
    pin_value: bytes | None
    pin_source: bytes | None
    module_name: bytes | None
    module_path: bytes | None

    @classmethod
    def of(cls, uri: Pkcs11Uri) -> "Understood":
        """The same of ours; it calls unrecognized what cannot be in a field of a token."""
        return cls(
            unrecognized=bool(uri.unknown_path) or any(_too_long(uri)),
            object=_encoded(uri.object),
            id=uri.id,
            type=uri.type,
            slot_id=uri.slot_id,
            pin_value=_encoded(uri.pin_value),
            pin_source=_encoded(uri.pin_source),
            module_name=_encoded(uri.module_name),
            module_path=_encoded(uri.module_path),
        )


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _too_long(uri: Pkcs11Uri) -> Iterator[bool]:
    sizes = {
        "token": 32, "manufacturer": 32, "model": 16, "serial": 16, "slot_description": 64,
        "slot_manufacturer": 32, "library_description": 32, "library_manufacturer": 32,
    }  # fmt: skip
    for name, size in sizes.items():
        yield len((getattr(uri, name) or "").encode()) > size


@pytest.fixture(scope="module")
def p11kit() -> P11Kit:
    build_or_skip(lambda: debian.packages(*packages.SERVER))
    return P11Kit()


NAMES: Final = (
    "token", "manufacturer", "serial", "model", "object", "type", "id", "slot-id",
    "slot-description", "slot-manufacturer", "library-version", "library-description",
    "library-manufacturer", "vendor", "pin-value",
)  # fmt: skip
QUERIES: Final = ("pin-source", "pin-value", "module-name", "module-path", "vendor")
VALUES: Final = st.one_of(
    st.sampled_from(["cert", "private", "1", "0", "2.40", "256", "", "%00", "%ff", "%20", "a%3Bb"]),
    st.text("ab01%2Ff+&=;?# é", max_size=8),
    st.text("a", min_size=30, max_size=70),
    st.binary(max_size=6).map(lambda value: "".join(f"%{byte:02x}" for byte in value)),
)


def pairs(names: tuple[str, ...], separator: str) -> st.SearchStrategy[str]:
    one = st.builds("{}={}".format, st.sampled_from(names), VALUES) | st.text("a=;", max_size=2)
    return st.lists(one, max_size=4).map(separator.join)


URIS: Final = st.builds(
    "{}{}{}".format,
    st.sampled_from(["pkcs11:", "PKCS11:", "pkcs:"]),
    pairs(NAMES, ";"),
    st.just("") | pairs(QUERIES, "&").map("?{}".format),
)


# Most of what is made up is refused, which the next test looks at: that is no reason to stop.
@settings(max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(URIS)
def test_p11kit_reads_every_uri_that_we_take_as_we_do(p11kit: P11Kit, text: str) -> None:
    try:
        ours = Pkcs11Uri.parse(text)
    except InvalidPkcs11Uri:
        assume(False)
    assert p11kit.parse_text(text) == Understood.of(ours)


@settings(max_examples=CASES, deadline=None)
@given(URIS)
def test_what_we_alone_refuse_is_refused_for_a_known_reason(p11kit: P11Kit, text: str) -> None:
    try:
        Pkcs11Uri.parse(text)
    except InvalidPkcs11Uri as refused:
        stricter = any(words in refused.problem for words in STRICTER)
        assert stricter or p11kit.parse_text(text) is None
    else:
        assert p11kit.parse_text(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=a b",
        "pkcs11:token=a\n",
        "pkcs11:token=a/b",
        "pkcs11:token=a#b",
        "pkcs11:token=%ff",
        "pkcs11:token=a;",
        "pkcs11:token=a;;id=%01",
        "pkcs11:token=a;token=b",
        "pkcs11:token=a;pin-source=/a",
        "pkcs11:slot-id=99999999999999999999999",
        "pkcs11:?pin-source=/a&pin-value=1",
    ],
)
def test_what_p11kit_takes_and_the_rfc_does_not_is_refused(p11kit: P11Kit, text: str) -> None:
    assert p11kit.parse_text(text) is not None
    with pytest.raises(InvalidPkcs11Uri):
        Pkcs11Uri.parse(text)


FIELDS: Final = ("token", "manufacturer", "serial", "model")
HELD: Final = st.text("ab é", max_size=8)
TOKENS: Final = st.builds(TokenFacts, **dict.fromkeys(FIELDS, HELD))
NAMED: Final = st.none() | HELD | st.text("a ", min_size=15, max_size=40)


@settings(max_examples=CASES, deadline=None)
@given(
    TOKENS,
    st.fixed_dictionaries(dict.fromkeys(FIELDS, NAMED)),
    st.sets(st.sampled_from(FIELDS)),
)
def test_p11kit_takes_a_token_for_the_one_meant_when_we_do(
    p11kit: P11Kit, token: TokenFacts, named: dict[str, str | None], right: set[str]
) -> None:
    uri = Pkcs11Uri(**{**named, **{name: getattr(token, name) for name in right}})
    assert p11kit.means(str(uri), token) == fits(uri, token)
