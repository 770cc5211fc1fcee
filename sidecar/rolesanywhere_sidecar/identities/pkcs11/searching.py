"""The certificate and the key that two URIs mean together, and whether they belong together.

A key's URI that names no object means the key of the certificate. What lies in files is brought
along. Remembers matches, and no session.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from rolesanywhere_contract.pkcs11uri import Pkcs11Uri
from rolesanywhere_sidecar.identities import certificates
from rolesanywhere_sidecar.identities.certificates import PublicKey
from rolesanywhere_sidecar.identities.keys.proof import verifies
from rolesanywhere_sidecar.identities.pkcs11 import leaves, locating
from rolesanywhere_sidecar.identities.pkcs11.conversation import Conversation, Token, TokenKey
from rolesanywhere_sidecar.identities.pkcs11.hardwarekey import Tokens
from rolesanywhere_sidecar.identities.pkcs11.leaves import Leaf, Wanted
from rolesanywhere_sidecar.identities.pkcs11.matches import Match, Place, mismatch
from rolesanywhere_sidecar.identities.pkcs11.pins import Pin

# An identity and the one before it, in tokens and files that rotate.
MOST_MATCHES: Final = 8
_TRIAL_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Leaves:
    """The certificates that are meant, and all that are in the same tokens, them among these."""

    meant: Sequence[Leaf]
    beside: Sequence[Leaf]


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key in a token, what it matches, and the certificates beside that."""

    key: TokenKey
    match: Match
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
    _matches: dict[object, Match] = field(default_factory=dict, compare=False, repr=False)

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
    ) -> FoundKey:
        """The key, in a token, of one of ``candidates``, which are from files."""
        uri = self.key_uri or Pkcs11Uri()
        token = locating.token_of(uri, talk)
        self.tokens.log_in(talk, token, pin)
        key = locating.key_of(talk, token, id=uri.id, label=uri.object)
        leaves_first = [each for each in candidates if not leaves.is_authority(each)]
        return FoundKey(key, self._match(talk, key, leaves_first or candidates), ())

    def key(self, talk: Conversation, pin: Pin | None, wanted: Wanted | None) -> FoundKey:
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
        return FoundKey(key, self._match(talk, key, candidates), found.beside)

    def _key_token(self, talk: Conversation, uri: Pkcs11Uri, likely: Sequence[Leaf]) -> Token:
        """The token that the key's URI means; where it says nothing of one, the certificate's."""
        if any(getattr(uri, name) is not None for name in locating.OF_TOKENS):
            return locating.token_of(uri, talk)
        tokens = list(dict.fromkeys(each.held.token for each in likely))
        if len(tokens) > 1:
            raise locating.ambiguous_token(self.certificate_uri or uri, tokens)
        return tokens[0]

    def _match(
        self, talk: Conversation, key: TokenKey, candidates: Sequence[x509.Certificate]
    ) -> Match:
        """``key`` with the public half that is its own, among those of ``candidates``.

        The first that is ever looked for, where only one can be meant, proves itself by the first
        signature that is asked of it: if that fails, there is no identity before it to go on with.
        Each later one does here, but not each time. Raises `KeyMismatch`.
        """
        place = Place.of(key)
        told = (place, *(each.fingerprint(SHA256()) for each in candidates))
        if told not in self._matches:
            meant = certificates.public_keys(candidates)
            match = Match(place, meant[0], candidates) if len(meant) == 1 else None
            if match is None or self._matches:
                match = self._tried(talk, key, candidates, meant)
            while len(self._matches) >= MOST_MATCHES:
                del self._matches[next(iter(self._matches))]
            self._matches[told] = match
        return self._matches[told]

    def _tried(
        self,
        talk: Conversation,
        key: TokenKey,
        candidates: Sequence[x509.Certificate],
        meant: Sequence[PublicKey],
    ) -> Match:
        """The match that a trial signature shows. Raises `KeyMismatch`."""
        trial = secrets.token_bytes(_TRIAL_BYTES)
        signature = self.tokens.raw_signature(talk, key, trial)
        for public_key in meant:
            if verifies(public_key, trial, signature):
                return Match(Place.of(key), public_key, candidates, is_proven=True)
        raise mismatch(Place.of(key), candidates)
