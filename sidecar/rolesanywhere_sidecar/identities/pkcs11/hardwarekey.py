"""A private key in a token, which signs through the child process.

Each signature is verified with the certificate's public key before anybody sees it: a device that
is faulty, or another key under the same id, costs an error and no request. Holds no session: where
the key is now is looked up whenever that was forgotten.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.identities.certificates import PublicKey
from rolesanywhere_sidecar.identities.keys import Digest
from rolesanywhere_sidecar.identities.pkcs11 import locating, logins, mechanisms
from rolesanywhere_sidecar.identities.pkcs11.conversation import Conversation, Token, TokenKey
from rolesanywhere_sidecar.identities.pkcs11.errors import NoSuchToken, PinMissing, PinProblem
from rolesanywhere_sidecar.identities.pkcs11.latch import PinLatch
from rolesanywhere_sidecar.identities.pkcs11.matches import Match, Place
from rolesanywhere_sidecar.identities.pkcs11.pins import Pin
from rolesanywhere_sidecar.identities.pkcs11.supervisor import Supervisor
from rolesanywhere_sidecar.identities.pkcs11.tally import Tally
from rolesanywhere_sidecar.lanes import Lane
from rolesanywhere_sidecar.signing import KeyKind

_Result = TypeVar("_Result")

# An identity is loaded, and then it signs.
LINGER_SECONDS: Final = 1.0


class Tokens:
    """A module's tokens for all who use them, one at a time."""

    def __init__(self, supervisor: Supervisor, latch: PinLatch, tally: Tally) -> None:
        self._supervisor = supervisor
        self._latch = latch
        self._tally = tally
        self.lane: Final = Lane("pkcs11", linger=LINGER_SECONDS)

    @property
    def module(self) -> str:
        """The path of the module."""
        return self._supervisor.path

    @property
    def is_asked(self) -> bool:
        """Whether the module is at work for somebody."""
        return self._supervisor.is_asked

    def run(self, work: Callable[[Conversation], _Result]) -> _Result:
        """As `Supervisor.run`; blocks."""
        return self._supervisor.run(work)

    def log_in(self, talk: Conversation, token: Token, pin: Pin | None) -> None:
        """As `logins.log_in`."""
        try:
            logins.log_in(talk, token, pin, self._latch)
        except PinProblem as problem:
            self._tally.pin_latched = not isinstance(problem, PinMissing)
            raise
        self._tally.pin_latched = False

    def raw_signature(
        self, talk: Conversation, key: TokenKey, payload: bytes, digest: Digest = Digest.SHA256
    ) -> bytes:
        """What the token signs ``payload`` with, in the service's form; not verified.

        Raises `UnsupportedKey` or `ModuleError`.
        """
        kind = mechanisms.kind_of(key.key_type, where=key)
        offered = talk.offers(key.token)
        task = mechanisms.task(kind, payload, offered=offered, digest=digest, where=key)
        raw = talk.sign(key, mechanism=task.mechanism, data=task.data)
        return mechanisms.signature(kind, raw)

    def sign(self, match: Match, pin: Pin | None, payload: bytes, *, digest: Digest) -> bytes:
        """A signature that the certificate of ``match`` verifies; blocks. Raises
        `RolesAnywhereError`."""
        began = time.monotonic()

        def work(talk: Conversation) -> bytes:
            key = self._locate(talk, match.place, pin)
            return self.raw_signature(talk, key, payload, digest)

        try:
            signature = self.run(work)
            match.check(payload, signature, digest)
        except RolesAnywhereError as problem:
            self._tally.failed(problem.code)
            raise
        self._tally.signed(time.monotonic() - began)
        return signature

    def close(self) -> None:
        """End the child process."""
        self._supervisor.close()

    def _locate(self, talk: Conversation, place: Place, pin: Pin | None) -> TokenKey:
        if place not in talk.located:
            token = _token_at(place, talk)
            self.log_in(talk, token, pin)
            talk.located[place] = locating.key_of(
                talk, token, id=place.facts.id or None, label=place.facts.object or None
            )
        return talk.located[place]


@dataclass(frozen=True, slots=True)
class HardwareKey:
    """A `SigningKey` in a token; ``pin`` is that of when it was found."""

    kind: KeyKind
    match: Match
    pin: Pin | None = field(repr=False)
    _tokens: Tokens = field(repr=False)

    @property
    def public_key(self) -> PublicKey:
        """The public half, by its certificate."""
        return self.match.public_key

    async def sign(self, payload: bytes, digest: Digest = Digest.SHA256) -> bytes:
        """The verified signature over ``payload``; ML-DSA hashes by itself. Raises
        `RolesAnywhereError`."""
        work = partial(self._tokens.sign, self.match, self.pin, payload, digest=digest)
        return await self._tokens.lane.run(work)


def _token_at(place: Place, talk: Conversation) -> Token:
    """The token by itself, wherever it is plugged in; of two that are alike, that in its slot."""
    alike = [each for each in talk.tokens() if each.facts == place.token]
    found = [each for each in alike if each.slot == place.slot] if len(alike) > 1 else alike
    if not found:
        raise NoSuchToken(
            f"the token {place.token.token!r} is away",
            hint="plug it in, or start its server again; it is looked for again by itself",
        )
    return found[0]
