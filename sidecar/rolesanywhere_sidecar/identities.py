"""Certificate, key and intermediates from disk, as a pair that fits together.

Whoever rotates them replaces several files, and we may look in between: everything is read twice,
must be the same both times and must match, and is read anew a few times before that is an error.
Holds no identity: each `IdentityFiles.load` tells what is on disk now.
"""

import asyncio
import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import files
from rolesanywhere_sidecar.identity import Identity, assemble, read_certificates
from rolesanywhere_sidecar.keys import SigningKey, UnsupportedKey, in_a_file, open_key

# Together half a second: a kubelet swaps a volume in less, and nobody waits for it here.
ATTEMPTS: Final = 6
PAUSE_SECONDS: Final = 0.1

# The link that a kubelet swaps to replace all files of a volume at once (its AtomicWriter).
_KUBELET_LINK: Final = "..data"


class UnreadableFile(RolesAnywhereError):
    """A file of the identity cannot be read."""

    code = "UnreadableFile"


class IdentityChanging(RolesAnywhereError):
    """The files of the identity do not hold still."""

    code = "IdentityChanging"
    retryable = True


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """Where an identity lives. ``intermediates`` may be None; ``pause`` is in seconds."""

    certificate: str
    private_key: str
    intermediates: str | None = None
    pause: float = field(default=PAUSE_SECONDS, kw_only=True)

    @classmethod
    def of(cls, settings: Settings) -> "IdentityFiles":
        """The files that ``settings`` name; the key is in the certificate's file by default."""
        return cls(
            settings.certificate,
            settings.private_key or settings.certificate,
            settings.intermediates,
        )

    async def load(self) -> tuple[Identity, SigningKey]:
        """The identity on disk and its key, whether or not the service would accept it.

        Raises `UnreadableFile`, `IdentityChanging`, `identity.InvalidIdentity`,
        `identity.KeyMismatch`, `keys.InvalidKey` or `keys.UnsupportedKey`.
        """
        self._check_locations()
        for _ in range(ATTEMPTS - 1):
            try:
                return await asyncio.to_thread(self._load_once)
            except UnsupportedKey:
                raise
            except RolesAnywhereError:
                await asyncio.sleep(self.pause)
        return await asyncio.to_thread(self._load_once)

    def fingerprint(self) -> bytes:
        """A hash of all contents: changes when one of them does, whatever the files' times say.

        Reads the files: blocking, so call it in a thread. Raises `UnreadableFile`, or
        `keys.UnsupportedKey` for what is not in files.
        """
        self._check_locations()
        digest = hashlib.sha256()
        for content in self._snapshot().values():
            digest.update(hashlib.sha256(content).digest())
        return digest.digest()

    def _check_locations(self) -> None:
        for _, path in self._roles():
            in_a_file(str(path))

    def _roles(self) -> Iterator[tuple[str, Path]]:
        yield "certificate", Path(self.certificate)
        yield "private key", Path(self.private_key)
        if self.intermediates is not None:
            yield "intermediates", Path(self.intermediates)

    def _load_once(self) -> tuple[Identity, SigningKey]:
        held = self._snapshot()
        if held != self._snapshot():
            raise IdentityChanging(
                f"the files of the identity in {self.certificate} change while they are read",
                hint="they are read anew; replace them by renaming",
            )
        key = open_key(self.private_key, held[Path(self.private_key)])
        certificates = read_certificates(held[Path(self.certificate)], where=self.certificate)
        if self.intermediates is not None:
            certificates += read_certificates(
                held[Path(self.intermediates)], where=self.intermediates
            )
        identity = assemble(certificates, public_key=key.public_key, where=self.certificate)
        return identity, key

    def _snapshot(self) -> Mapping[Path, bytes]:
        """Each file once, all from the directories that the paths lead to at this moment."""
        resolved: dict[Path, Path] = {}
        held: dict[Path, bytes] = {}
        for role, path in self._roles():
            if path in held:
                continue
            try:
                held[path] = files.read_regular(_pinned(path, resolved))
            except OSError as problem:
                reason = problem.strerror or type(problem).__name__
                raise UnreadableFile(
                    f"the {role} {path} cannot be read: {reason}",
                    hint="check the path, the volume and the file's permissions",
                ) from None
        return held


def _pinned(path: Path, resolved: dict[Path, Path]) -> Path:
    """``path`` with its directory resolved, once for all files below one that can be swapped."""
    base = path.parent
    for above in path.parents:
        if (above / _KUBELET_LINK).is_symlink():
            base = above
            break
    if base not in resolved:
        link = base / _KUBELET_LINK
        resolved[base] = _resolved(link if link.is_symlink() else base)
    return resolved[base] / path.relative_to(base)


def _resolved(path: Path) -> Path:
    """Raises OSError alone."""
    try:
        return path.resolve(strict=True)
    except RuntimeError:
        # What Python before 3.13 says of links that go round.
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
