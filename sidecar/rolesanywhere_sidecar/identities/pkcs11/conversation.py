"""What is asked of a module through its child process, in our words; and what was learned so far.

What was learned is forgotten with the first error: nobody knows then what still holds. Never tries
anything twice: that is the supervisor's.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from rolesanywhere_contract.pkcs11uri import Pkcs11Uri
from rolesanywhere_sidecar.identities.pkcs11.facts import (
    LibraryFacts,
    ObjectFacts,
    SlotFacts,
    TokenFacts,
    naming,
)
from rolesanywhere_sidecar.identities.pkcs11.framing import Message

# CKF_* of CK_TOKEN_INFO (PKCS#11 v2.40, section 3.2).
_LOGIN_REQUIRED: Final = 0x4
_INITIALIZED: Final = 0x400
_COUNT_LOW: Final = 0x10000
_FINAL_TRY: Final = 0x20000
_LOCKED: Final = 0x40000


class ModuleError(Exception):
    """A call failed; ``name`` is python-pkcs11's for the code, ``words`` are what it adds."""

    def __init__(self, name: str, words: str = "") -> None:
        super().__init__(f"{name}: {words}" if words else name)
        self.name = name
        self.words = words


class Asked(Protocol):
    """The other end, as `process.Child` is one."""

    def ask(self, question: Message, *, within: float) -> Message: ...


@dataclass(frozen=True, slots=True)
class Token:
    """A token, the slot that it is in, and how it stands with its PIN."""

    facts: TokenFacts
    slot: SlotFacts
    flags: int

    @property
    def name(self) -> str:
        """The URI of this token, wherever it is plugged in."""
        return str(naming(self.facts))

    @property
    def is_initialized(self) -> bool:
        """Whether there can be anything in it."""
        return bool(self.flags & _INITIALIZED)

    @property
    def login_required(self) -> bool:
        """Whether its private keys are for those who know the PIN."""
        return bool(self.flags & _LOGIN_REQUIRED)

    @property
    def pin_count_low(self) -> bool:
        """Whether somebody has tried a wrong PIN since the last right one."""
        return bool(self.flags & _COUNT_LOW)

    @property
    def pin_final_try(self) -> bool:
        """Whether the next wrong PIN locks it."""
        return bool(self.flags & _FINAL_TRY)

    @property
    def pin_locked(self) -> bool:
        """Whether it takes no PIN any more."""
        return bool(self.flags & _LOCKED)


@dataclass(frozen=True, slots=True)
class TokenCertificate:
    """A certificate object: where it is, and its DER."""

    token: Token
    facts: ObjectFacts
    der: bytes

    @property
    def uri(self) -> Pkcs11Uri:
        """The URI of this object."""
        return naming(self.token.facts, self.facts)


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A private key object; ``number`` is what the child calls it, until the next error."""

    token: Token
    facts: ObjectFacts
    key_type: int
    number: int

    @property
    def uri(self) -> Pkcs11Uri:
        """The URI of this object."""
        return naming(self.token.facts, self.facts)

    def __str__(self) -> str:
        return str(self.uri)


class Conversation:
    """One module, loaded in one child; ``within`` gives the seconds that the next call has."""

    def __init__(self, child: Asked, *, within: Callable[[], float]) -> None:
        self._child = child
        self._within = within
        # python-pkcs11 leaves the session of a refused login open.
        self.leaks = False
        self._logged_in: set[int] = set()
        self._offers: dict[int, Sequence[int]] = {}
        self._opened: set[int] = set()
        self.library: LibraryFacts | None = None
        # Keys that were located, by whatever tells them apart; forgotten with the rest.
        self.located: dict[Hashable, TokenKey] = {}

    def load(self, path: str) -> LibraryFacts:
        """Load and initialize the module at ``path``."""
        found = self._call("load", path=path)
        major, minor = found["library_version"]
        self.library = LibraryFacts(**{**found, "library_version": (major, minor)})
        return self.library

    def tokens(self) -> Sequence[Token]:
        """Every initialized token that answers, as it is now."""
        found = [_token(each) for each in self._call("tokens")]
        return [each for each in found if each.is_initialized]

    def offers(self, token: Token) -> Sequence[int]:
        """The mechanisms of ``token``, by number."""
        slot = token.slot.slot_id
        if slot not in self._offers:
            self._offers[slot] = self._call("mechanisms", slot=slot)
        return self._offers[slot]

    def certificates(self, token: Token) -> Sequence[TokenCertificate]:
        """What can be read; after a login that may be more."""
        found = self._call("certificates", slot=token.slot.slot_id)
        return [
            TokenCertificate(token, _object(each, "cert"), each["der"])
            for each in found
            if each["der"]
        ]

    def is_logged_in(self, token: Token) -> bool:
        """Whether `login` was called and has not been undone."""
        return token.slot.slot_id in self._logged_in

    def login(self, token: Token, pin: str) -> None:
        """C_Login, once; who calls has made sure that this PIN may be tried."""
        self.leaks = True
        self._call("login", slot=token.slot.slot_id, pin=pin)
        self.leaks = False
        self._logged_in.add(token.slot.slot_id)

    def keys(self, token: Token, *, id: bytes | None, label: str | None) -> Sequence[TokenKey]:  # noqa: A002 - as in CKA_ID and in a URI
        """Private keys with this CKA_ID and label, of those that are given."""
        found = self._call("keys", slot=token.slot.slot_id, id=id, label=label)
        return [
            TokenKey(token, _object(each, "private"), each["key_type"], each["key"])
            for each in found
        ]

    def sign(self, key: TokenKey, *, mechanism: int, data: bytes) -> bytes:
        """C_Sign as it is."""
        slot = key.token.slot.slot_id
        signature = self._call("sign", slot=slot, key=key.number, mechanism=mechanism, data=data)
        if not isinstance(signature, bytes):
            raise ModuleError("DataInvalid", "the child's answer is no signature")
        return signature

    def reinitialize(self) -> None:
        """C_Finalize and C_Initialize, which end every session."""
        self.forget()
        self._opened.clear()
        self._call("reinitialize")

    def forget(self) -> None:
        """Start from nothing: what was learned may hold no more."""
        self._logged_in.clear()
        self._offers.clear()
        self.located.clear()

    def close_sessions(self) -> None:
        """Close every session, and log out."""
        slots, self._opened = self._opened, set()
        self.forget()
        for slot in slots:
            self._call("forget", slot=slot)

    def close_session(self, token: Token) -> None:
        """Close that of ``token``, which nobody has logged in to, if there is one."""
        slot = token.slot.slot_id
        if slot in self._opened:
            self._opened.discard(slot)
            self._call("forget", slot=slot)

    def _call(self, name: str, **arguments: Any) -> Any:
        if "slot" in arguments and name != "forget":
            self._opened.add(arguments["slot"])
        answer = self._child.ask({"do": name, **arguments}, within=self._within())
        if "error" in answer:
            self.forget()
            raise ModuleError(str(answer["error"]), str(answer.get("words", "")))
        return answer.get("result")


def _token(told: Mapping[str, Any]) -> Token:
    return Token(
        TokenFacts(
            token=told["token"],
            manufacturer=told["manufacturer"],
            serial=told["serial"],
            model=told["model"],
        ),
        SlotFacts(
            slot_manufacturer=told["slot_manufacturer"],
            slot_description=told["slot_description"],
            slot_id=told["slot_id"],
        ),
        told["flags"],
    )


def _object(told: Mapping[str, Any], kind: Any) -> ObjectFacts:
    return ObjectFacts(object=told["object"], type=kind, id=told["id"])
