"""PKCS#11 URIs (RFC 7512): which token, certificate and key a user means, and where the PIN is.

Strict: what would have to be guessed at, or ignored, is refused by its name. No text from here ever
shows a PIN, be it an error, a ``repr`` or a ``str``. Pure: opens no file and loads no module.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, get_args

from rolesanywhere_contract import pkcs11grammar
from rolesanywhere_contract.pkcs11grammar import (
    SCHEME,
    Attributes,
    InvalidPkcs11Uri,
    is_one,
    redacted,
    wrong,
)

__all__ = ["SCHEME", "InvalidPkcs11Uri", "ObjectType", "Pkcs11Uri", "is_one", "redacted"]

ObjectType = Literal["public", "private", "cert", "secret-key", "data"]
TYPES: Final[tuple[ObjectType, ...]] = get_args(ObjectType)

# CK_ULONG, and the bytes of CK_VERSION (PKCS#11 v2.40, sections 3.1 and 3.2).
_LARGEST_SLOT_ID: Final = 2**64 - 1
_LARGEST_VERSION: Final = 255

_FILE_SCHEME: Final = "file:"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Pkcs11Uri:
    """A URI whose fields have the names of its attributes. None is "any", empty "must be empty".

    ``unknown_path`` and ``unknown_query`` are the attributes that RFC 7512 does not define.
    """

    library_manufacturer: str | None = None
    library_description: str | None = None
    library_version: tuple[int, int] | None = None
    slot_manufacturer: str | None = None
    slot_description: str | None = None
    slot_id: int | None = None
    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    object: str | None = None
    type: ObjectType | None = None
    id: bytes | None = None
    pin_source: str | None = None
    pin_value: str | None = None
    module_name: str | None = None
    module_path: str | None = None
    unknown_path: Attributes = ()
    unknown_query: Attributes = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """What ``text`` says, whether or not it is done here. Raises `InvalidPkcs11Uri`."""
        written = pkcs11grammar.split(text)
        known = dict(_known(written.path, _PATH))
        for name, value in _known(written.query, _QUERY):
            if name in known:
                raise wrong(f"has the attribute {_attribute(name)} twice", "leave one out")
            known[name] = value
        if {"pin_source", "pin_value"} <= known.keys():
            raise wrong("has both a pin-source and a pin-value", "leave out the pin-value")
        return cls(
            **known,
            unknown_path=tuple(_unknown(written.path, _PATH)),
            unknown_query=tuple(_unknown(written.query, _QUERY)),
        )

    @classmethod
    def configured(cls, text: str, *, of: Literal["cert", "private"]) -> Self:
        """The URI of a certificate or a private key that a setting holds, of which all is used.

        Raises `InvalidPkcs11Uri` for a type of something else, for attributes that would be
        ignored, for a PIN's source that is no file, and for a module: those are code, and are
        loaded from configuration alone.
        """
        uri = cls.parse(text)
        if uri.type not in (None, of):
            raise wrong(f"is of type={uri.type}", f"expected type={of} here, or no type")
        if uri.module_name is not None or uri.module_path is not None:
            raise wrong(
                "names a module by module-name or module-path, and code is not loaded for a URI",
                "leave that out, and name the module's file as --pkcs11-lib",
            )
        for name, _ in uri.unknown_path:
            raise wrong(
                f"has the attribute {name}, which RFC 7512 does not define",
                f"expected {_either(_PATH)}",
            )
        for name, _ in uri.unknown_query:
            shown = "something else" if uri.pin_value is not None else f"the attribute {name}"
            raise wrong(
                f"has {shown} after its ?, which is not used",
                "leave it out; in a PIN, write %26 for an &",
            )
        _ = uri.pin_file
        return uri

    @property
    def pin_file(self) -> str | None:
        """The absolute path of the pin-source. Raises `InvalidPkcs11Uri` if it is no file."""
        if self.pin_source is None:
            return None
        path = self.pin_source
        if path.startswith(_FILE_SCHEME):
            path = re.sub(r"^//(?:localhost)?(?=/)", "", path.removeprefix(_FILE_SCHEME))
        if not re.match(r"/[^/]", path):
            raise wrong(
                "has a pin-source that is not the absolute path of a file",
                "expected pin-source=file:/<path>; no command is run for a PIN",
            )
        return path

    def __str__(self) -> str:
        """The URI, canonical, with a … for what is or may be a PIN."""
        path = [*_shown(self, _PATH), *_hidden(self.unknown_path)]
        query = [*_shown(self, _QUERY), *_hidden(self.unknown_query)]
        if self.pin_value is not None:
            # What else is there may be the PIN's second half, after an & that had to be %26.
            query = [("pin-value", None)]
        return pkcs11grammar.join(path, query)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


_Reader = Callable[[str, bytes], Any]


def _text(name: str, value: bytes) -> str:
    try:
        found = value.decode()
    except UnicodeDecodeError:
        raise wrong(f"has a value of {name} that is not UTF-8") from None
    if "\0" in found:
        raise wrong(f"has a zero byte in its {name}")
    return found


def _pin(name: str, value: bytes) -> str:
    if not value:
        raise wrong(f"has an empty {name}", "leave it out where there is no PIN")
    return _text(name, value)


def _bytes(_: str, value: bytes) -> bytes:
    return value


def _slot_id(name: str, value: bytes) -> int:
    if not re.fullmatch(rb"[0-9]{1,40}", value) or int(value) > _LARGEST_SLOT_ID:
        raise wrong(f"has a {name} that is no slot's number", "expected decimal digits")
    return int(value)


def _version(name: str, value: bytes) -> tuple[int, int]:
    shape = re.fullmatch(rb"([0-9]{1,9})(?:\.([0-9]{1,9}))?", value)
    numbers = [int(part or b"0") for part in shape.groups()] if shape else []
    if not numbers or max(numbers) > _LARGEST_VERSION:
        raise wrong(f"has a {name} that is none", "expected one such as 3 or 2.40")
    major, minor = numbers
    return major, minor


def _type(name: str, value: bytes) -> str:
    if value.decode(errors="replace") not in TYPES:
        raise wrong(f"has a {name} that is none", f"expected {_either(TYPES)}")
    return value.decode()


# In the order in which we write them: from the library down to the object.
_PATH: Final[Mapping[str, _Reader]] = {
    "library-manufacturer": _text,
    "library-description": _text,
    "library-version": _version,
    "slot-manufacturer": _text,
    "slot-description": _text,
    "slot-id": _slot_id,
    "token": _text,
    "manufacturer": _text,
    "serial": _text,
    "model": _text,
    "object": _text,
    "type": _type,
    "id": _bytes,
}
_QUERY: Final[Mapping[str, _Reader]] = {
    "pin-source": _pin,
    "pin-value": _pin,
    "module-name": _text,
    "module-path": _text,
}


def _known(written: Attributes, readers: Mapping[str, _Reader]) -> Iterator[tuple[str, Any]]:
    for name, value in written:
        if name in readers:
            yield name.replace("-", "_"), readers[name](name, value)


def _unknown(written: Attributes, readers: Mapping[str, _Reader]) -> Iterator[tuple[str, bytes]]:
    return ((name, value) for name, value in written if name not in readers)


def _attribute(name: str) -> str:
    return name.replace("_", "-")


def _shown(uri: Pkcs11Uri, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        value = getattr(uri, name.replace("-", "_"))
        if value is not None:
            yield name, _bytes_of(value)


def _hidden(attributes: Attributes) -> Iterator[tuple[str, None]]:
    return ((name, None) for name, _ in attributes)


def _bytes_of(value: object) -> bytes:
    match value:
        case bytes():
            return value
        case (major, minor):
            return f"{major}.{minor}".encode()
        case _:
            return str(value).encode()


def _either(names: Iterable[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} or {last}"
