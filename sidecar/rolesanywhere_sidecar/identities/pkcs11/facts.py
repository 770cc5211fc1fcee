"""What a module, its slots, tokens and objects say of themselves, and whether a URI means them.

The fields of a fact have the names of a URI's attributes, so that either can be held against the
other. Pure: who asks a module is the child process.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Final

from rolesanywhere_contract.pkcs11uri import ObjectType, Pkcs11Uri

# The cryptoki structures pad texts to a field's length (PKCS#11 v2.40, section 3.1).
PADDING: Final = " "


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryFacts:
    """Of CK_INFO; the version is major and minor."""

    library_manufacturer: str
    library_description: str
    library_version: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFacts:
    """Of CK_SLOT_INFO, and the slot's number."""

    slot_manufacturer: str
    slot_description: str
    slot_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """Of CK_TOKEN_INFO; ``token`` is the label."""

    token: str
    manufacturer: str
    serial: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts:
    """CKA_LABEL, CKA_CLASS and CKA_ID."""

    object: str
    type: ObjectType
    id: bytes


Facts = LibraryFacts | SlotFacts | TokenFacts | ObjectFacts


def fits(uri: Pkcs11Uri, *facts: Facts) -> bool:
    """Whether all ``facts`` are as ``uri`` says, where it says something."""
    return all(
        wanted is None or _unpadded(wanted, fact) == _unpadded(getattr(fact, each.name), fact)
        for fact in facts
        for each in fields(fact)
        for wanted in (getattr(uri, each.name),)
    )


def naming(*facts: Facts) -> Pkcs11Uri:
    """The URI of what all ``facts`` are of."""
    return Pkcs11Uri(
        **{
            each.name: _unpadded(getattr(fact, each.name), fact)
            for fact in facts
            for each in fields(fact)
        }
    )


def meant_as_hexadecimal(wanted: bytes, present: Iterable[bytes]) -> bytes | None:
    """The id of ``present`` whose bytes are the hexadecimal digits of ``wanted``, if there is one.

    tpm2_ptool makes such ids: who copies what tools print of them writes half as many bytes.
    """
    digits = wanted.hex().encode()
    return next((each for each in present if digits and each.lower() == digits), None)


def _unpadded(value: Any, fact: Facts) -> Any:
    """An object's attributes have a length of their own, and no padding."""
    if isinstance(value, str) and not isinstance(fact, ObjectFacts):
        return value.rstrip(PADDING)
    return value
