"""Certificate, key and chain, of which some are in a token: an identity as `IdentityFiles` is one.

Which certificate and key are meant is looked up at each load, and that they belong together is
shown by a signature, at the latest by the first that is asked for. Files beside the token are read
as `IdentityFiles` reads them. Holds no identity.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from cryptography import x509

from rolesanywhere_contract.certselector import CertSelector
from rolesanywhere_contract.pkcs11uri import Pkcs11Uri
from rolesanywhere_sidecar.identities import names, volumes
from rolesanywhere_sidecar.identities.certificates import PublicKey, read_certificates
from rolesanywhere_sidecar.identities.identity import Identity, assemble
from rolesanywhere_sidecar.identities.identity_files import Collection, Found, IdentityFiles
from rolesanywhere_sidecar.identities.keys import FileKey, SigningKey
from rolesanywhere_sidecar.identities.keys.memory import check_public
from rolesanywhere_sidecar.identities.pkcs11 import listing, mechanisms
from rolesanywhere_sidecar.identities.pkcs11.hardwarekey import HardwareKey, Tokens
from rolesanywhere_sidecar.identities.pkcs11.leaves import Leaf, Wanted
from rolesanywhere_sidecar.identities.pkcs11.listing import Listed
from rolesanywhere_sidecar.identities.pkcs11.pins import Pin, PinSource
from rolesanywhere_sidecar.identities.pkcs11.searching import Search
from rolesanywhere_sidecar.identities.pkcs11.supervisor import TOTAL_SECONDS, silent
from rolesanywhere_sidecar.identities.volumes import Contents
from rolesanywhere_sidecar.identities.volumes import Place as FilePlace

# The token's calls are bounded by themselves, unless this machine is short of CPU; a volume that
# hangs beside it is not.
PATIENCE_SECONDS: Final = TOTAL_SECONDS + 2.0


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """Where an identity lives of which certificate or key, or both, are in a token.

    ``files`` is for what is not, and says how to choose; its ``certificate`` may be a URI too,
    without what that says of a PIN.
    """

    files: IdentityFiles
    search: Search
    pin_source: PinSource
    patience: float = field(default=PATIENCE_SECONDS, kw_only=True)
    now: Callable[[], datetime] = field(
        default=partial(datetime.now, UTC), kw_only=True, compare=False, repr=False
    )

    @property
    def tokens(self) -> Tokens:
        """The module's tokens."""
        return self.search.tokens

    @property
    def certificate_uri(self) -> Pkcs11Uri | None:
        """What is looked for in a token as the certificate; None for one in files."""
        return self.search.certificate_uri

    @property
    def key_uri(self) -> Pkcs11Uri | None:
        """What is looked for in a token as the key; None for one in a file."""
        return self.search.key_uri

    @property
    def certificate(self) -> str:
        """The path or URI of the certificate."""
        return self.files.certificate

    @property
    def latest(self) -> bool:
        """Whether the latest to expire wins among several certificates."""
        return self.files.latest

    async def load(self) -> tuple[Identity, SigningKey]:
        """The identity as it is now, and its key, whether or not the service would accept it.

        Raises `RolesAnywhereError`: what `IdentityFiles.load` raises, and `errors.TokenProblem`.
        """
        try:
            async with asyncio.timeout(self.patience):
                return await self.tokens.lane.run(self._load)
        except TimeoutError:
            if self.tokens.is_asked:
                raise silent(self.tokens.module, self.patience) from None
            raise volumes.silent(self.certificate, self.patience) from None

    def collect(self) -> Collection:
        """All certificates that are meant, then those beside them. Blocks; raises as `load`."""
        if self.certificate_uri is None:
            return self.files.collect()
        held = self._read()
        found = self.tokens.run(partial(self.search.certificates, pin=self._pin(held)))
        others = [each for each in found.beside if each not in found.meant]
        return Collection(
            (
                *(Found(each.certificate, _uri(each)) for each in (*found.meant, *others)),
                *(Found(each, str(self.files.intermediates)) for each in self._above(held)),
            )
        )

    def listing(self) -> Sequence[Listed]:
        """Every certificate that is meant, for who looks for the right URI. Blocks; raises as
        `load`."""
        pin, uri = self._pin(self._read()), self.certificate_uri or Pkcs11Uri()
        return self.tokens.run(
            lambda talk: listing.listing(
                uri, talk, log_in=partial(self.tokens.log_in, talk, pin=pin)
            )
        )

    def open_key(self) -> FileKey | HardwareKey:
        """The private key that is to be the certificate's. Blocks; raises as `load`."""
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
        for held in self._read().values():
            for content in held.values():
                digest.update(hashlib.sha256(content).digest())
        return digest.digest()

    def close(self) -> None:
        """End the child process that holds the module."""
        self.tokens.close()

    def _load(self) -> tuple[Identity, FileKey | HardwareKey]:
        held = self._read()
        pin, selector = self._pin(held), self.wanted()
        wanted = None if selector is None else partial(names.fits, selector)
        if self.key_uri is None:
            return self._with_file_key(held, pin, wanted)
        if self.certificate_uri is None:
            collection = self.files.collect()
            work = partial(self.search.key_of_files, pin=pin, candidates=collection.certificates)
            found = self.tokens.run(work)
            identity = self._assembled(
                collection.certificates, found.match.public_key, wanted, latest=self.latest
            )
            identity = replace(identity, where=collection.where(identity.leaf))
        else:
            found = self.tokens.run(partial(self.search.key, pin=pin, wanted=wanted))
            identity = self._from_token(
                found.match.candidates, found.beside, held, found.match.public_key, wanted
            )
        check_public(found.match.public_key, where=str(found.key))
        kind = mechanisms.kind_of(found.key.key_type, where=found.key)
        return identity, HardwareKey(kind, found.match, pin, self.tokens)

    def _with_file_key(
        self, held: Contents, pin: Pin | None, wanted: Wanted | None
    ) -> tuple[Identity, FileKey]:
        key = self.files.open_key()
        found = self.tokens.run(partial(self.search.likely, pin=pin, wanted=wanted))
        meant = [each.certificate for each in found.meant]
        return self._from_token(meant, found.beside, held, key.public_key, wanted), key

    def _from_token(
        self,
        meant: Sequence[x509.Certificate],
        beside: Sequence[Leaf],
        held: Contents,
        public_key: PublicKey,
        wanted: Wanted | None,
    ) -> Identity:
        """Of several certificates of one key that is the leaf which is valid, as with files."""
        identity = self._assembled(
            [*(each.certificate for each in beside), *self._above(held)],
            public_key,
            lambda each: each in meant,
            latest=self.latest or wanted is None,
        )
        where = next(_uri(each) for each in beside if each.certificate == identity.leaf)
        # Other people's certificates are nothing strange in a token.
        return replace(identity, where=where, unrelated=0)

    def _assembled(
        self,
        certificates: Sequence[x509.Certificate],
        public_key: PublicKey,
        wanted: Wanted | None,
        *,
        latest: bool,
    ) -> Identity:
        return assemble(
            certificates,
            public_key=public_key,
            where=self.certificate,
            wanted=wanted,
            latest=latest,
            at=self.now(),
        )

    def _above(self, held: Contents) -> Sequence[x509.Certificate]:
        """The intermediates in a file; those of a certificate in files are read with it."""
        if self.certificate_uri is None or self.files.intermediates is None:
            return ()
        path = Path(self.files.intermediates)
        return read_certificates(held[path][path], where=str(path))

    def _pin(self, held: Contents) -> Pin | None:
        path = self.pin_source.path
        return self.pin_source.pin(None if path is None else held[path][path])

    def _read(self) -> Contents:
        return volumes.read_together(tuple(self._places()))

    def _places(self) -> Iterator[FilePlace]:
        yield from self.files.places(
            certificates=self.certificate_uri is None, key=self.key_uri is None
        )
        if self.certificate_uri is not None:
            yield from self.files.selectors_place()
            if self.files.intermediates is not None:
                yield FilePlace("intermediates", Path(self.files.intermediates))
        if self.pin_source.path is not None:
            yield FilePlace("PIN file", self.pin_source.path)


def _uri(leaf: Leaf) -> str:
    return str(leaf.held.uri)
