"""A module's functions, by python-pkcs11: the one place that imports it, in the child alone.

Keeps one session for each token: where there is a login it is that session's, because closing it
would log out all others. Any error ends the session that met it, since an operation may be stuck
there; the parent asks again. Searches are read to their end, data is ``bytes``, and every
mechanism is named: each of these has crashed or wedged a module otherwise.
"""

import itertools
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from rolesanywhere_sidecar.identities.pkcs11.framing import Message
from rolesanywhere_sidecar.identities.pkcs11.lazily import lazily

with lazily("pkcs11.util"):
    import pkcs11
    from pkcs11 import Attribute, ObjectClass
    from pkcs11.exceptions import PKCS11Error, UserAlreadyLoggedIn

# Of one token; a parent that is told of more could not use them either.
MOST_OBJECTS: Final = 512
_LONGEST_TEXT: Final = 256


class _Gone(Exception):
    """What the parent speaks of was forgotten with its session."""


class _Key(NamedTuple):
    slot: int
    key: Any
    asks_again: bool


class Cryptoki:
    """One module, and what is open in it."""

    def __init__(self) -> None:
        self._lib: Any = None
        self._sessions: dict[int, Any] = {}
        self._logged_in: dict[int, str | None] = {}
        self._keys: dict[int, _Key] = {}
        self._numbers = itertools.count(1)
        self._calls: Final[Mapping[str, Any]] = {
            "load": self.load,
            "tokens": self.tokens,
            "mechanisms": self.mechanisms,
            "certificates": self.certificates,
            "login": self.login,
            "keys": self.keys,
            "sign": self.sign,
            "forget": self.forget,
            "reinitialize": self.reinitialize,
        }

    def answer(self, call: Message) -> Message:
        """The result of ``call``, or the name of its error and a few words of the module's."""
        arguments = dict(call)
        work = self._calls[arguments.pop("do")]
        try:
            return {"result": work(**arguments)}
        except _Gone:
            return {"error": "SessionHandleInvalid", "words": ""}
        except Exception as wrong:  # whatever it was, the parent knows what to do about it
            if "slot" in arguments:
                self.forget(arguments["slot"])
            return {"error": type(wrong).__name__, "words": str(wrong)[:_LONGEST_TEXT]}

    def load(self, path: str) -> Message:
        """Initialize the module; what it says of itself."""
        # One file must have one name: the library keeps modules by their names.
        self._lib = pkcs11.lib(os.path.realpath(path))
        return {
            "library_manufacturer": self._lib.manufacturer_id,
            "library_description": self._lib.library_description,
            "library_version": list(self._lib.library_version),
        }

    def tokens(self) -> list[Message]:
        """Every token that answers, with its slot; one that does not hides no other."""
        found = []
        for slot in self._lib.get_slots(token_present=True):
            with suppress(PKCS11Error):
                found.append(_described(slot, slot.get_token()))
        return found

    def mechanisms(self, slot: int) -> list[int]:
        """The mechanisms that a slot's token offers."""
        return sorted(int(each) for each in self._slot(slot).get_mechanisms())

    def certificates(self, slot: int) -> list[Message]:
        """The X.509 certificates that can be read, each with its CKA_ID and label."""
        session = self._session(slot)
        wanted = {
            Attribute.CLASS: ObjectClass.CERTIFICATE,
            Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
        }
        return [
            {
                "id": _attribute(each, Attribute.ID, b""),
                "object": _attribute(each, Attribute.LABEL, ""),
                "der": _attribute(each, Attribute.VALUE, b""),
            }
            for each in list(session.get_objects(wanted))[:MOST_OBJECTS]
        ]

    def login(self, slot: int, pin: str) -> None:
        """Log in with ``pin``; it is kept for keys that ask for it again."""
        if slot in self._logged_in:
            return
        self._close(slot)
        token = self._slot(slot).get_token()
        try:
            self._sessions[slot] = token.open(user_pin=pin)
        except UserAlreadyLoggedIn:
            # A session that could not be closed holds the login; all sessions have their part.
            self._sessions[slot] = token.open()
        self._logged_in[slot] = pin

    def keys(self, slot: int, id: bytes | None, label: str | None) -> list[Message]:  # noqa: A002 - as in CKA_ID and in a URI
        """The private keys with this CKA_ID and this label, of those that are given."""
        wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
        if id is not None:
            wanted[Attribute.ID] = id
        if label is not None:
            wanted[Attribute.LABEL] = label
        return [
            self._known(slot, each)
            for each in list(self._session(slot).get_objects(wanted))[:MOST_OBJECTS]
        ]

    def sign(self, slot: int, key: int, mechanism: int, data: bytes) -> bytes:
        """C_Sign, nothing added: ``data`` is what ``mechanism`` takes."""
        held = self._keys.get(key)
        if held is None or held.slot != slot:
            raise _Gone
        # A PIN for a key that does not ask for it would wedge the session.
        pin = self._logged_in.get(slot) if held.asks_again else None
        signature: bytes = held.key.sign(data, mechanism=pkcs11.Mechanism(mechanism), pin=pin)
        return signature

    def forget(self, slot: int) -> None:
        """Close what is open in a slot, and log out."""
        self._keys = {key: held for key, held in self._keys.items() if held.slot != slot}
        self._close(slot)

    def reinitialize(self) -> None:
        """C_Finalize and C_Initialize: what a server or a token that was away asks for."""
        self._keys.clear()
        self._sessions.clear()
        self._logged_in.clear()
        self._lib.reinitialize()

    def _session(self, slot: int) -> Any:
        if slot not in self._sessions:
            self._sessions[slot] = self._slot(slot).get_token().open()
        return self._sessions[slot]

    def _close(self, slot: int) -> None:
        session = self._sessions.pop(slot, None)
        self._logged_in.pop(slot, None)
        if session is not None:
            with suppress(PKCS11Error):
                session.close()

    def _slot(self, number: int) -> Any:
        for slot in self._lib.get_slots(token_present=True):
            if slot.slot_id == number:
                return slot
        raise _Gone

    def _known(self, slot: int, key: Any) -> Message:
        known = (each for each, held in self._keys.items() if (held.slot, held.key) == (slot, key))
        number = next(known, None)
        if number is None:
            asks_again = bool(_attribute(key, Attribute.ALWAYS_AUTHENTICATE, False))
            number = next(self._numbers)
            self._keys[number] = _Key(slot, key, asks_again)
        return {
            "key": number,
            "id": _attribute(key, Attribute.ID, b""),
            "object": _attribute(key, Attribute.LABEL, ""),
            "key_type": int(_attribute(key, Attribute.KEY_TYPE, -1)),
        }


def _described(slot: Any, token: Any) -> Message:
    return {
        "slot_id": slot.slot_id,
        "slot_manufacturer": slot.manufacturer_id,
        "slot_description": slot.slot_description,
        "token": token.label,
        "manufacturer": token.manufacturer_id,
        "serial": token.serial.decode("utf-8", errors="replace"),
        "model": token.model,
        "flags": int(token.flags),
    }


def _attribute(held: Any, wanted: Attribute, default: Any) -> Any:
    """What an object says of itself, or ``default`` where it keeps that to itself, or where a
    label is no UTF-8 or a type is a vendor's own: a stranger's must not hide our own."""
    try:
        value = held[wanted]
    # NotImplementedError is what python-pkcs11 raises for an attribute that it does not map to a
    # type of Python's, which are others in each of its versions.
    except (PKCS11Error, NotImplementedError, ValueError, struct.error):
        return default
    return bytes(value) if isinstance(value, bytearray | memoryview) else value
