"""Certificate, key and chain, of which some are in a token: an identity as `IdentityFiles` is one.

Which certificate and key are meant is looked up at each load, and a key proves itself by a
signature before it counts as a certificate's. Files beside the token are read as `IdentityFiles`
reads them. Holds no identity.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from rolesanywhere_contract.certselector import CertSelector
from rolesanywhere_contract.pkcs11uri import Pkcs11Uri
from rolesanywhere_sidecar.identities import names, volumes
from rolesanywhere_sidecar.identities.certificates import PublicKey, listed, read_certificates
from rolesanywhere_sidecar.identities.identity import Identity, KeyMismatch, assemble
from rolesanywhere_sidecar.identities.identity_files import Collection, Found, IdentityFiles
from rolesanywhere_sidecar.identities.keys import FileKey, SigningKey
from rolesanywhere_sidecar.identities.keys.proof import verifies
from rolesanywhere_sidecar.identities.pkcs11 import leaves, listing, locating, mechanisms
from rolesanywhere_sidecar.identities.pkcs11.conversation import Conversation, Token, TokenKey
from rolesanywhere_sidecar.identities.pkcs11.hardwarekey import HardwareKey, Place, Tokens
from rolesanywhere_sidecar.identities.pkcs11.leaves import Leaf
from rolesanywhere_sidecar.identities.pkcs11.listing import Listed
from rolesanywhere_sidecar.identities.pkcs11.pins import Pin, PinSource
from rolesanywhere_sidecar.identities.pkcs11.supervisor import TOTAL_SECONDS
from rolesanywhere_sidecar.identities.volumes import Contents
from rolesanywhere_sidecar.identities.volumes import Place as FilePlace

# The token's calls are bounded by themselves; a volume that hangs beside it is not.
PATIENCE_SECONDS: Final = TOTAL_SECONDS + 2.0

# An identity and the one before it, in files and tokens that rotate.
MOST_PROOFS: Final = 8
_TRIAL_BYTES: Final = 32

_Pair = tuple[Identity, SigningKey]


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look at the token has found, but for the key; in ``chain`` are all certificates."""

    candidates: Sequence[x509.Certificate]
    chain: Sequence[x509.Certificate]
    where: Callable[[x509.Certificate], str]
    from_token: bool


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """Where an identity lives of which certificate or key, or both, are in a token.

    ``files`` is for what is not, and says how to choose; a URI stands in its fields too, without
    what it says of a PIN. A ``key_uri`` without object and id means the key of the certificate.
    """

    files: IdentityFiles
    certificate_uri: Pkcs11Uri | None
    key_uri: Pkcs11Uri | None
    pin_source: PinSource
    tokens: Tokens = field(repr=False)
    patience: float = field(default=PATIENCE_SECONDS, kw_only=True)
    now: Callable[[], datetime] = field(
        default=partial(datetime.now, UTC), kw_only=True, compare=False, repr=False
    )
    _proofs: dict[object, PublicKey] = field(default_factory=dict, compare=False, repr=False)

    @property
    def certificate(self) -> str:
        """The path or URI of the certificate."""
        return self.files.certificate

    @property
    def latest(self) -> bool:
        """Whether the latest to expire wins among several certificates."""
        return self.files.latest

    async def load(self) -> _Pair:
        """The identity as it is now, and its key, whether or not the service would accept it.

        Raises `RolesAnywhereError`: what `IdentityFiles.load` raises, and `errors.TokenProblem`.
        """
        try:
            async with asyncio.timeout(self.patience):
                return await self.tokens.lane.run(self._load)
        except TimeoutError:
            raise volumes.silent(self.certificate, self.patience) from None

    def collect(self) -> Collection:
        """All certificates that are meant, then those beside them. Blocks; raises as `load`."""
        if self.certificate_uri is None:
            return self.files.collect()
        pin = self._pin(volumes.read_together(tuple(self._places())))
        meant, beside = self.tokens.run(partial(self._certificates, pin=pin))
        found = [*meant, *(each for each in beside if each not in meant)]
        in_files = self._intermediates(volumes.read_together(tuple(self._places())))
        return Collection(
            (
                *(Found(each.certificate, str(each.held.uri)) for each in found),
                *(Found(each, str(self.files.intermediates)) for each in in_files),
            )
        )

    def listing(self) -> Sequence[Listed]:
        """Every certificate that is meant, for who looks for the right URI. Blocks; raises as
        `load`."""
        pin = self._pin(volumes.read_together(tuple(self._places())))
        uri = self.certificate_uri or Pkcs11Uri()
        return self.tokens.run(
            lambda talk: listing.listing(
                uri, talk, log_in=partial(self.tokens.log_in, talk, pin=pin)
            )
        )

    def open_key(self) -> FileKey | HardwareKey:
        """The private key, proven to be the certificate's. Blocks; raises as `load`."""
        return self._load()[1]

    def wanted(self) -> CertSelector | None:
        """The cert selector, if there is one. Blocks. Raises as `IdentityFiles.wanted`."""
        return self.files.wanted()

    def fingerprint(self) -> bytes:
        """A hash of all files beside the token, the PIN's among them; the token is not asked.

        A certificate that is replaced in the token shows at the next load. Blocks. Raises
        `UnreadableFile`.
        """
        digest = hashlib.sha256()
        for held in volumes.read_together(tuple(self._places())).values():
            for content in held.values():
                digest.update(hashlib.sha256(content).digest())
        return digest.digest()

    def close(self) -> None:
        """End the child process that holds the module."""
        self.tokens.close()

    def _load(self) -> tuple[Identity, FileKey | HardwareKey]:
        held = volumes.read_together(tuple(self._places()))
        pin, selector = self._pin(held), self.wanted()
        fits = None if selector is None else partial(names.fits, selector)
        if self.key_uri is None:
            file_key = self.files.open_key()
            found = self.tokens.run(lambda talk: self._leaves(talk, held, pin, fits)[0])
            return self._identity(found, file_key.public_key, fits), file_key

        def work(talk: Conversation) -> tuple[_Found, TokenKey, PublicKey]:
            found, key = self._with_key(talk, held, pin, fits)
            return found, key, self._proven(talk, key, found.candidates)

        found, key, public_key = self.tokens.run(work)
        kind = mechanisms.kind_of(key.key_type, where=str(key.uri))
        hardware = HardwareKey(kind, public_key, Place.of(key), pin, self.tokens)
        return self._identity(found, public_key, fits), hardware

    def _identity(
        self, found: _Found, public_key: PublicKey, fits: leaves.Wanted | None
    ) -> Identity:
        if found.from_token:
            # What is meant was chosen; of one key's certificates that which is valid is the leaf.
            meant, latest = found.candidates, self.latest or fits is None
            identity = assemble(
                found.chain,
                public_key=public_key,
                where=self.certificate,
                wanted=lambda each: each in meant,
                latest=latest,
                at=self.now(),
            )
            # Other people's certificates are nothing strange in a token.
            identity = replace(identity, unrelated=0)
        else:
            identity = assemble(
                found.chain,
                public_key=public_key,
                where=self.certificate,
                wanted=fits,
                latest=self.latest,
                at=self.now(),
            )
        return replace(identity, where=found.where(identity.leaf))

    def _with_key(
        self, talk: Conversation, held: Contents, pin: Pin | None, fits: leaves.Wanted | None
    ) -> tuple[_Found, TokenKey]:
        """Certificates, and the one key in a token that is meant."""
        uri = self.key_uri or Pkcs11Uri()
        log_in = partial(self.tokens.log_in, talk, pin=pin)
        if self.certificate_uri is None:
            found = self._from_files()
            token = locating.token_of(uri, talk)
            log_in(token)
            return found, locating.key_of(talk, token, id=uri.id, label=uri.object)
        found, likely = self._leaves(talk, held, pin, fits)
        token = self._key_token(talk, uri, likely)
        log_in(token)
        if uri.id is not None or uri.object is not None:
            return found, locating.key_of(talk, token, id=uri.id, label=uri.object)

        def has_key(leaf: Leaf) -> bool:
            return bool(talk.keys(token, id=leaf.id, label=None))

        chosen = leaves.with_key(likely, has_key=has_key, latest=self.latest)
        found = replace(found, candidates=[each.certificate for each in chosen])
        return found, locating.key_of(talk, token, id=chosen[0].id, label=None)

    def _key_token(self, talk: Conversation, uri: Pkcs11Uri, likely: Sequence[Leaf]) -> Token:
        """The token that the key's URI means, or if that says nothing of it, the certificate's."""
        if any(
            each is not None
            for each in (
                uri.token,
                uri.manufacturer,
                uri.serial,
                uri.model,
                uri.slot_id,
                uri.slot_description,
            )
        ):
            return locating.token_of(uri, talk)
        tokens = list(dict.fromkeys(each.held.token for each in likely))
        if len(tokens) > 1:
            raise locating.ambiguous_token(self.certificate_uri or uri, tokens)
        return tokens[0]

    def _certificates(
        self, talk: Conversation, pin: Pin | None
    ) -> tuple[Sequence[Leaf], Sequence[Leaf]]:
        log_in = partial(self.tokens.log_in, talk, pin=pin)
        meant, beside = locating.certificates_of(
            self.certificate_uri or Pkcs11Uri(), talk, log_in=log_in
        )
        return leaves.read(meant), leaves.read(beside)

    def _leaves(
        self, talk: Conversation, held: Contents, pin: Pin | None, fits: leaves.Wanted | None
    ) -> tuple[_Found, Sequence[Leaf]]:
        """The certificates in the token that can be the leaf, with all that may be its chain."""
        meant, beside = self._certificates(talk, pin)
        likely = leaves.likely(meant, fits)
        uris = {each.certificate: str(each.held.uri) for each in (*beside, *meant)}
        found = _Found(
            candidates=[each.certificate for each in likely],
            chain=[*(each.certificate for each in beside), *self._intermediates(held)],
            where=lambda leaf: uris.get(leaf, self.certificate),
            from_token=True,
        )
        return found, likely

    def _from_files(self) -> _Found:
        collection = self.files.collect()
        return _Found(
            candidates=collection.certificates,
            chain=collection.certificates,
            where=collection.where,
            from_token=False,
        )

    def _proven(
        self, talk: Conversation, key: TokenKey, candidates: Sequence[x509.Certificate]
    ) -> PublicKey:
        """The public key of ``key``, which is that of one of the ``candidates``.

        Private keys of elliptic curves say nothing of it, so one signature has to; but not each
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

    def _intermediates(self, held: Contents) -> Sequence[x509.Certificate]:
        """Of a certificate in a token; those of one in files are read with it."""
        if self.certificate_uri is None or self.files.intermediates is None:
            return ()
        path = Path(self.files.intermediates)
        return read_certificates(held[path][path], where=str(path))

    def _pin(self, held: Contents) -> Pin | None:
        path = self.pin_source.path
        return self.pin_source.pin(None if path is None else held[path][path])

    def _places(self) -> Iterator[FilePlace]:
        yield from self.files.places(
            certificates=self.certificate_uri is None, key=self.key_uri is None
        )
        if self.certificate_uri is not None and self.files.intermediates is not None:
            yield FilePlace("intermediates", Path(self.files.intermediates))
        if self.pin_source.path is not None:
            yield FilePlace("PIN file", self.pin_source.path)
