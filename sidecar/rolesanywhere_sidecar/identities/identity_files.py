"""Certificate, key and intermediates from disk, as a pair that fits together.

Whoever rotates them replaces several files, and we may look in between: everything is read twice,
must be the same both times and must match, and is read anew a few times before that is an error.
Holds no identity: each `IdentityFiles.load` tells what is on disk now.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from cryptography import x509

from rolesanywhere_contract import certselector
from rolesanywhere_contract.certselector import CertSelector, InvalidCertSelector
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import IdentitySettings
from rolesanywhere_sidecar.identities import names, volumes
from rolesanywhere_sidecar.identities.certificates import (
    InvalidIdentity,
    holds_certificates,
    read_certificates,
)
from rolesanywhere_sidecar.identities.identity import Identity, assemble
from rolesanywhere_sidecar.identities.keys import (
    FileKey,
    InvalidKey,
    PasswordMissing,
    SigningKey,
    UnsupportedKey,
    pkcs12,
)
from rolesanywhere_sidecar.identities.keys.file import holds_key
from rolesanywhere_sidecar.identities.keys.opened import OpenedKeys
from rolesanywhere_sidecar.identities.volumes import Contents, Place, UnreadableFile
from rolesanywhere_sidecar.lanes import Lane

__all__ = ["Collection", "Found", "IdentityChanging", "IdentityFiles", "UnreadableFile"]

# Together half a second: a kubelet swaps a volume in less, and nobody waits for it here.
ATTEMPTS: Final = 6
PAUSE_SECONDS: Final = 0.1

# Well within a renewal's own deadline: while the volume hangs, an identity in memory may sign.
PATIENCE_SECONDS: Final = 10.0


class IdentityChanging(RolesAnywhereError):
    """The files of the identity do not hold still."""

    code = "IdentityChanging"
    retryable = True


@dataclass(frozen=True, slots=True)
class Found:
    """A certificate and the path of the file that it is from."""

    certificate: x509.Certificate
    where: str


@dataclass(frozen=True, slots=True)
class Collection:
    """All certificates at hand, in the order of their files; and why a folder's others are not."""

    found: tuple[Found, ...]
    unusable: tuple[RolesAnywhereError, ...] = ()

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Each as often as it was found."""
        return tuple(each.certificate for each in self.found)

    def where(self, certificate: x509.Certificate) -> str:
        """The file that ``certificate``, which was found, is from first."""
        return next(each.where for each in self.found if each.certificate == certificate)


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """Where an identity lives. Of all but the first two, any may be left out.

    ``certificate`` is a file, or a folder of which every file is considered; ``password`` opens
    key and PKCS#12 unless ``password_file`` is set; ``selector``, or what is in ``selector_file``,
    and ``latest`` choose among certificates (`identity.assemble`); ``pause`` and ``patience`` are
    in seconds; ``now`` returns aware times.
    """

    certificate: str
    private_key: str
    intermediates: str | None = None
    password_file: str | None = field(default=None, kw_only=True)
    password: bytes | None = field(default=None, kw_only=True, repr=False)
    selector: CertSelector | None = field(default=None, kw_only=True)
    selector_file: str | None = field(default=None, kw_only=True)
    latest: bool = field(default=False, kw_only=True)
    pause: float = field(default=PAUSE_SECONDS, kw_only=True)
    patience: float = field(default=PATIENCE_SECONDS, kw_only=True)
    now: Callable[[], datetime] = field(
        default=partial(datetime.now, UTC), kw_only=True, compare=False, repr=False
    )
    _opened: OpenedKeys = field(default_factory=OpenedKeys, init=False, compare=False, repr=False)
    _lane: Lane = field(
        default_factory=partial(Lane, "identity"), init=False, compare=False, repr=False
    )

    @classmethod
    def of(cls, settings: IdentitySettings) -> "IdentityFiles":
        """The files that ``settings`` name; the key is in the certificate's file by default."""
        password = settings.private_key_password
        selector = settings.cert_selector
        selector_file = certselector.file_of(selector or "")
        return cls(
            settings.certificate,
            settings.private_key or settings.certificate,
            settings.intermediates,
            password_file=settings.private_key_password_file,
            password=None if password is None else password.encode(errors="surrogateescape"),
            selector=CertSelector.parse(selector) if selector and not selector_file else None,
            selector_file=selector_file,
            latest=settings.use_latest_expiring_certificate,
        )

    async def load(self) -> tuple[Identity, SigningKey]:
        """The identity on disk and its key, whether or not the service would accept it.

        Raises `UnreadableFile`, `IdentityChanging`, `identity.InvalidIdentity`,
        `identity.KeyMismatch`, `identity.NoSuchCertificate`, `identity.AmbiguousCertificate`,
        `InvalidCertSelector`, or what `keys.open_key` raises.
        """
        try:
            async with asyncio.timeout(self.patience):
                return await self._load()
        except TimeoutError:
            raise volumes.silent(self.certificate, self.patience) from None

    async def _load(self) -> tuple[Identity, SigningKey]:
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._lane.run(self._load_once)
            except (UnsupportedKey, PasswordMissing):
                raise
            except RolesAnywhereError:
                await asyncio.sleep(self.pause)
        return await self._lane.run(self._load_once)

    def collect(self) -> Collection:
        """All certificates, whether or not there is a key. Blocks; raises as `load` does."""
        return self._collection(volumes.read_together(tuple(self.places(key=False))))

    def open_key(self) -> FileKey:
        """The private key, whether or not there is a certificate. Blocks; raises as `load`."""
        return self._key(volumes.read_together(tuple(self.places(certificates=False))))

    def wanted(self) -> CertSelector | None:
        """The cert selector, if there is one. Blocks.

        Raises `UnreadableFile` or `InvalidCertSelector`.
        """
        return self._selector(volumes.read_together(tuple(self.selectors_place())))

    def fingerprint(self) -> bytes:
        """A hash of all contents: changes when one of them does, whatever the files' times say.

        Reads the files: blocking, so call it in a thread. Raises `UnreadableFile`.
        """
        digest = hashlib.sha256()
        for held in volumes.read_together(tuple(self.places())).values():
            for content in held.values():
                digest.update(hashlib.sha256(content).digest())
        return digest.digest()

    def close(self) -> None:
        """Nothing is held open; there is something to close where an identity is in a token."""

    def places(self, *, certificates: bool = True, key: bool = True) -> Iterator[Place]:
        """What is read, of what is asked for."""
        if certificates:
            yield Place("certificate", Path(self.certificate), may_be_folder=True)
        if key:
            yield Place(
                "private key",
                Path(self.private_key),
                may_be_folder=self.private_key == self.certificate,
            )
        if certificates and self.intermediates is not None:
            yield Place("intermediates", Path(self.intermediates))
        if certificates:
            yield from self.selectors_place()
        if self.password_file is not None:
            yield Place("password file", Path(self.password_file))

    def selectors_place(self) -> Iterator[Place]:
        """The cert selector's file, if there is one."""
        if self.selector_file is not None:
            yield Place("cert selector's file", Path(self.selector_file))

    def _load_once(self) -> tuple[Identity, SigningKey]:
        places = tuple(self.places())
        held = volumes.read_together(places)
        if held != volumes.read_together(places):
            raise IdentityChanging(
                f"the files of the identity in {self.certificate} change while they are read",
                hint="they are read anew; replace them by renaming",
            )
        key = self._key(held)
        collection = self._collection(held)
        selector = self._selector(held)
        identity = assemble(
            collection.certificates,
            public_key=key.public_key,
            where=self.certificate,
            wanted=None if selector is None else partial(names.fits, selector),
            latest=self.latest,
            at=self.now(),
        )
        return replace(identity, where=collection.where(identity.leaf)), key

    def _key(self, held: Contents) -> FileKey:
        behind = held[Path(self.private_key)]
        found = dict(behind)
        if Path(self.private_key) not in behind:
            found = {path: content for path, content in behind.items() if holds_key(content)}
        if len(found) != 1:
            raise InvalidKey(
                f"the folder {self.private_key} holds {len(found)} private keys, expected one",
                hint="name the file of the right one as --private-key",
            )
        [(path, content)] = found.items()
        return self._opened.key(str(path), content, self._password(held))

    def _collection(self, held: Contents) -> Collection:
        found: list[Found] = []
        unusable: list[RolesAnywhereError] = []
        for source in filter(None, (self.certificate, self.intermediates)):
            for path, content in held[Path(source)].items():
                try:
                    certificates = self._certificates(path, content, self._password(held))
                except RolesAnywhereError as problem:
                    if path == Path(source):
                        raise
                    if holds_certificates(content):
                        unusable.append(problem)
                else:
                    found += (Found(each, str(path)) for each in certificates)
        if not found:
            raise InvalidIdentity(
                f"the folder {self.certificate} holds no certificate that can be read",
                hint="; ".join(str(problem) for problem in unusable[:3])
                or "expected files in PEM, DER or PKCS#12",
            )
        return Collection(tuple(found), tuple(unusable))

    def _certificates(
        self, path: Path, content: bytes, password: bytes | None
    ) -> tuple[x509.Certificate, ...]:
        if not pkcs12.recognised(content):
            return read_certificates(content, where=str(path))
        certificates = self._opened.store(str(path), content, password).certificates
        if not certificates:
            raise InvalidIdentity(
                f"the PKCS#12 file {path} holds no certificate",
                hint="export it with the certificate and its chain",
            )
        return certificates

    def _password(self, held: Contents) -> bytes | None:
        """Whoever writes a password with an editor ends the line, but only once."""
        if self.password_file is None:
            return self.password
        path = Path(self.password_file)
        content = held[path][path]
        return content.removesuffix(b"\r\n" if content.endswith(b"\r\n") else b"\n")

    def _selector(self, held: Contents) -> CertSelector | None:
        if self.selector_file is None:
            return self.selector
        path = Path(self.selector_file)
        try:
            text = held[path][path].decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InvalidCertSelector(
                f"the cert selector's file {path} cannot be read: it is not text",
                hint="expected a JSON file after file://",
            ) from None
        return CertSelector.parse_json(text)
