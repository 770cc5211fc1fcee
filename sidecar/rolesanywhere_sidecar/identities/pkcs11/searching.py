"""The certificate and the key that two URIs mean together, with proof that they belong together.

A key's URI that names no object means the key of the certificate. What lies in files is brought
along. Remembers proofs, and no session.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from rolesanywhere_contract.pkcs11uri import Pkcs11Uri
from rolesanywhere_sidecar.identities.certificates import PublicKey, listed
from rolesanywhere_sidecar.identities.identity import KeyMismatch
from rolesanywhere_sidecar.identities.keys.proof import verifies
from rolesanywhere_sidecar.identities.pkcs11 import leaves, locating
from rolesanywhere_sidecar.identities.pkcs11.conversation import Conversation, Token, TokenKey
from rolesanywhere_sidecar.identities.pkcs11.hardwarekey import Place, Tokens
from rolesanywhere_sidecar.identities.pkcs11.leaves import Leaf, Wanted
from rolesanywhere_sidecar.identities.pkcs11.pins import Pin

# An identity and the one before it, in tokens and files that rotate.
MOST_PROOFS: Final = 8
_TRIAL_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Leaves:
    """The certificates that are meant, and all that are in the same tokens, them among these."""

    meant: Sequence[Leaf]
    beside: Sequence[Leaf]


@dataclass(frozen=True, slots=True)
class ProvenKey:
    """A key in a token, its public half, and the certificates of which one has that."""

    key: TokenKey
    public_key: PublicKey
    candidates: Sequence[x509.Certificate]
    beside: Sequence[Leaf]


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; one of the URIs may be None, where that is in a file.

    ``wanted`` and ``latest`` choose among certificates in a token; with the ``pin`` there is a
    login where it takes one.
    """

    tokens: Tokens
    certificate_uri: Pkcs11Uri | None
    key_uri: Pkcs11Uri | None
    latest: bool
    _proofs: dict[object, PublicKey] = field(default_factory=dict, compare=False, repr=False)

    def certificates(self, talk: Conversation, pin: Pin | None) -> Leaves:
        """Those in a token. Raises as `locating.certificates_of`."""
        log_in = partial(self.tokens.log_in, talk, pin=pin)
        uri = self.certificate_uri or Pkcs11Uri()
        meant, beside = locating.certificates_of(uri, talk, log_in=log_in)
        return Leaves(leaves.read(meant), leaves.read(beside))

    def likely(self, talk: Conversation, pin: Pin | None, wanted: Wanted | None) -> Leaves:
        """Those in a token that can be a leaf."""
        found = self.certificates(talk, pin)
        return Leaves(leaves.likely(found.meant, wanted), found.beside)

    def key_of_files(
        self, talk: Conversation, pin: Pin | None, candidates: Sequence[x509.Certificate]
    ) -> ProvenKey:
        """The key, in a token, of one of ``candidates``, which are from files."""
        uri = self.key_uri or Pkcs11Uri()
        token = locating.token_of(uri, talk)
        self.tokens.log_in(talk, token, pin)
        key = locating.key_of(talk, token, id=uri.id, label=uri.object)
        return ProvenKey(key, self._proven(talk, key, candidates), candidates, ())

    def key(self, talk: Conversation, pin: Pin | None, wanted: Wanted | None) -> ProvenKey:
        """Certificate and key, both in a token."""
        found = self.likely(talk, pin, wanted)
        uri, chosen = self.key_uri or Pkcs11Uri(), found.meant
        token = self._key_token(talk, uri, chosen)
        self.tokens.log_in(talk, token, pin)
        if uri.id is None and uri.object is None:

            def has_key(leaf: Leaf) -> bool:
                return bool(talk.keys(token, id=leaf.id, label=None))

            chosen = leaves.with_key(chosen, has_key=has_key, latest=self.latest)
            key = locating.key_of(talk, token, id=chosen[0].id, label=None)
        else:
            key = locating.key_of(talk, token, id=uri.id, label=uri.object)
        candidates = [each.certificate for each in chosen]
        return ProvenKey(key, self._proven(talk, key, candidates), candidates, found.beside)

    def _key_token(self, talk: Conversation, uri: Pkcs11Uri, likely: Sequence[Leaf]) -> Token:
        """The token that the key's URI means; where it says nothing of one, the certificate's."""
        if any(getattr(uri, name) is not None for name in locating.OF_TOKENS):
            return locating.token_of(uri, talk)
        tokens = list(dict.fromkeys(each.held.token for each in likely))
        if len(tokens) > 1:
            raise locating.ambiguous_token(self.certificate_uri or uri, tokens)
        return tokens[0]

    def _proven(
        self, talk: Conversation, key: TokenKey, candidates: Sequence[x509.Certificate]
    ) -> PublicKey:
        """The public half of ``key``, which is that of one of ``candidates``.

        A private key on an elliptic curve says nothing of it, so a signature has to; but not each
        time. Raises `KeyMismatch`.
        """
        told = (Place.of(key), *(each.fingerprint(SHA256()) for each in candidates))
        if told in self._proofs:
            return self._proofs[told]
        trial = secrets.token_bytes(_TRIAL_BYTES)
        signature = self.tokens.raw_signature(talk, key, trial)
        for each in candidates:
            public_key = each.public_key()
            if isinstance(public_key, PublicKey) and verifies(public_key, trial, signature):
                while len(self._proofs) >= MOST_PROOFS:
                    del self._proofs[next(iter(self._proofs))]
                self._proofs[told] = public_key
                return public_key
        raise KeyMismatch(
            f"the private key {key.uri} does not belong to {listed(candidates)}",
            hint="expected the key that this certificate was issued for: a trial signature with it"
            " does not verify",
        )
