"""Whether a key in a token is a certificate's, as far as its signatures have shown.

A private key on an elliptic curve says nothing of its public half, so nothing but a signature can
tell. Never makes one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from rolesanywhere_contract.pkcs11uri import Pkcs11Uri
from rolesanywhere_sidecar.identities.certificates import PublicKey, listed
from rolesanywhere_sidecar.identities.identity import KeyMismatch
from rolesanywhere_sidecar.identities.keys import Digest
from rolesanywhere_sidecar.identities.keys.proof import verifies
from rolesanywhere_sidecar.identities.pkcs11.conversation import TokenKey
from rolesanywhere_sidecar.identities.pkcs11.errors import SignatureWrong
from rolesanywhere_sidecar.identities.pkcs11.facts import (
    ObjectFacts,
    SlotFacts,
    TokenFacts,
    naming,
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key is: what tells its token and itself from others. It outlives every process."""

    token: TokenFacts
    slot: SlotFacts
    facts: ObjectFacts

    @classmethod
    def of(cls, key: TokenKey) -> "Place":
        """That of ``key``, which was found."""
        return cls(key.token.facts, key.token.slot, key.facts)

    @property
    def uri(self) -> Pkcs11Uri:
        """The URI of the key."""
        return naming(self.token, self.facts)


@dataclass(slots=True)
class Match:
    """A key and the ``public_key`` of one of the ``candidates``, which is said to be its own.

    ``is_proven`` once one of its signatures has shown it.
    """

    place: Place
    public_key: PublicKey
    candidates: Sequence[x509.Certificate]
    is_proven: bool = False

    def check(self, payload: bytes, signature: bytes, digest: Digest = Digest.SHA256) -> None:
        """Returns if ``signature`` is the key's. Raises `KeyMismatch` before one ever was, and
        `SignatureWrong` from then on."""
        if verifies(self.public_key, payload, signature, digest):
            self.is_proven = True
            return
        if not self.is_proven:
            raise mismatch(self.place, self.candidates)
        raise SignatureWrong(
            f"the token {self.place.token.token!r} gave a signature that the certificate does"
            " not verify",
            hint="expected the key that the certificate was issued for; was it replaced,"
            " or does the token fail?",
        )


def mismatch(place: Place, candidates: Sequence[x509.Certificate]) -> KeyMismatch:
    """That the key is that of none of ``candidates``."""
    return KeyMismatch(
        f"the private key {place.uri} does not belong to {listed(candidates)}",
        hint="expected the key that this certificate was issued for: a signature with it does not"
        " verify",
    )
