"""How a PKCS#11 URI is written (RFC 7512, section 2.3): its attributes, taken apart and decoded.

What they mean is `pkcs11uri`'s. No text from here shows a value, since any may be a misplaced PIN.
Pure.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from rolesanywhere_contract.errors import RolesAnywhereError

SCHEME: Final = "pkcs11:"

# What stands for a PIN where a URI is shown; no URI has it, so that nobody can use it as one.
HIDDEN: Final = "…"

Attributes = tuple[tuple[str, bytes], ...]
Shown = Iterable[tuple[str, bytes | None]]

# Unreserved characters, those that may stand for themselves in this place, or %XX.
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PATH_VALUE = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=&-]|%[0-9A-Fa-f]{2})*")
_QUERY_VALUE = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=/?|-]|%[0-9A-Fa-f]{2})*")
# Numbers and words: their values have no character that could be encoded.
_PLAIN: Final = frozenset({"library-version", "slot-id", "type"})
_PIN = re.compile(r"\bpin[-_]?(?:value|source)?=", re.IGNORECASE)

_HOW_TO_WRITE: Final = (
    "write such a character as % and two hexadecimal digits for each of its bytes in UTF-8: %20"
    " for a blank, %25 for a %, %3B for a ;"
)


class InvalidPkcs11Uri(RolesAnywhereError):
    """A text is not a PKCS#11 URI, or asks for what is not done here."""

    code = "InvalidPkcs11Uri"


@dataclass(frozen=True, slots=True)
class Written:
    """A URI's attributes in their order, with their values decoded."""

    path: Attributes
    query: Attributes = ()


def split(text: str) -> Written:
    """The attributes of ``text``; separated first, decoded then. Raises `InvalidPkcs11Uri`."""
    if not is_one(text):
        raise wrong("does not begin with pkcs11:", "expected pkcs11:<name>=<value>;<name>=…")
    path, _, query = text[len(SCHEME) :].partition("?")
    return Written(tuple(_path(path)), tuple(_query(query)))


def is_one(text: str) -> bool:
    """Whether ``text`` is meant as a PKCS#11 URI: schemes have no case (RFC 3986, 3.1)."""
    return text[: len(SCHEME)].lower() == SCHEME


def join(path: Shown, query: Shown) -> str:
    """A URI of these attributes, in which all but unreserved characters are encoded.

    An ``id`` is encoded whole, as RFC 7512 advises; for None there is `HIDDEN`.
    """
    before, after = (
        separator.join(f"{name}={_encoded(name, value)}" for name, value in attributes)
        for separator, attributes in ((";", path), ("&", query))
    )
    return f"{SCHEME}{before}?{after}" if after else SCHEME + before


def redacted(text: str) -> str:
    """``text``, whatever it is, without what may be a PIN in a PKCS#11 URI."""
    pin = _PIN.search(text) if is_one(text) else None
    return text[: pin.end()] + HIDDEN if pin else text


def wrong(problem: str, hint: str = "") -> InvalidPkcs11Uri:
    """What is to be raised because the URI ``problem``: a verb and more."""
    return InvalidPkcs11Uri(f"the PKCS#11 URI {problem}", hint=hint)


def _path(path: str) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    for place, piece in enumerate(path.split(";") if path else (), start=1):
        if _PIN.search(piece):
            raise wrong("has a PIN before its ?", "write it last, as ?pin-source=file:<path>")
        name, value = _pair(piece, f"attribute {place} before its ?")
        if name in seen:
            raise wrong(f"has the attribute {name} twice", "leave one out")
        seen.add(name)
        content = _decoded(value, _PATH_VALUE, what=name)
        yield name, value.encode() if name in _PLAIN else content


def _query(query: str) -> Iterator[tuple[str, bytes]]:
    """Vendors' attributes may come again (RFC 7512, section 2.3)."""
    for place, piece in enumerate(query.split("&") if query else (), start=1):
        what = f"attribute {place} after its ?"
        name, value = _pair(piece, what)
        # Not by its name: an & in a PIN, which had to be %26, makes a name of its second half.
        yield name, _decoded(value, _QUERY_VALUE, what=what)


def _pair(piece: str, what: str) -> tuple[str, str]:
    name, equals, value = piece.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise wrong(
            f"has no <name>=<value> as {what}",
            "separate attributes by one ; before the ? and by one & after it; in a PIN, write %26"
            " for an &",
        )
    return name, value


def _decoded(value: str, allowed: re.Pattern[str], *, what: str) -> bytes:
    if not allowed.fullmatch(value):
        raise wrong(f"has a character in {what} that must be encoded, or a stray %", _HOW_TO_WRITE)
    return unquote_to_bytes(value)


def _encoded(name: str, value: bytes | None) -> str:
    if value is None:
        return HIDDEN
    return "".join(f"%{byte:02X}" for byte in value) if name == "id" else quote(value, safe="")
