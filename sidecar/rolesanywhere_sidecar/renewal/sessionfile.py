"""A session kept in a file, for the next process that asks.

The file serves one binding and one certificate: what was kept for others is not used, and is
replaced. It is a cache and no more: garbage counts as nothing, and a file that cannot be written
costs a CreateSession, never an answer. Never decides how much life is enough; never logs.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from cryptography.hazmat.primitives.hashes import SHA256

from rolesanywhere_contract import certselector, pkcs11uri
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.pkcs11uri import Pkcs11Uri
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import files
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.identities.identity import Identity

FORMAT_VERSION: Final = 1

# Session tokens are a few KB; more than this is none of ours.
LARGEST_BYTES: Final = 64 * 1024

# A session from further ahead shows that the clock was set back: its end cannot be judged.
CLOCK_TOLERANCE: Final = timedelta(minutes=5)

_TEXTS: Final = ("access_key_id", "secret_access_key", "session_token", "account_id")
_TIMES: Final = ("issued", "expires")

_OTHERS: Final[Mapping[str, str]] = {
    "version": "was kept by another version of this program",
    "binding": "is for another ARN, region, endpoint, duration or session name",
    "leaf": "was made with another certificate",
    "place": "was made with a certificate that other settings name",
}

# What reading a document of any shape may raise; a time at the edge of the calendar overflows.
_GARBAGE: Final = (
    ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip


class SessionFileUnusable(RolesAnywhereError):
    """The session cannot be kept where the settings say; it is good nevertheless."""

    code = "SessionFileUnusable"


@dataclass(frozen=True, slots=True)
class SessionFile:
    """The file at ``path``, as far as it serves ``binding`` (see `binding_of`).

    ``place`` says which certificate in a token that is for (see `place_of`).
    """

    path: Path
    binding: str
    place: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The session file that ``settings`` name, if they name one."""
        if settings.session_file is None:
            return None
        return cls(Path(settings.session_file), binding_of(settings), place_of(settings))

    def read(self, at: datetime, leaf: bytes | None) -> Credentials | None:
        """The session kept for our binding and for ``leaf`` (see `leaf_digest`), valid ``at``.

        Without a leaf, that of our ``place``. None for anything else, whatever it is; never raises.
        """
        found = self.look(at, leaf)
        return found if isinstance(found, Credentials) else None

    def look(self, at: datetime, leaf: bytes | None) -> Credentials | str:
        """As `read`, but for none a sentence that says why."""
        document = _document(files.read_own(self.path, most=LARGEST_BYTES) or b"")
        if document is None:
            return self.doubt() or f"there is no session file {self.path}"
        if leaf is None and not self.place:
            return "the certificate is not known"
        told = f"the session in {self.path}"
        if not self._keys(leaf).items() <= document.items():
            return f"{told} {_unlike(self._keys(leaf), document)}"
        kept: Credentials = document["credentials"]
        if kept.issued - at > CLOCK_TOLERANCE:
            return f"{told} is from {kept.issued:%Y-%m-%d %H:%M:%SZ}, ahead of this machine's clock"
        return kept if at < kept.expires else f"{told} ended at {kept.expires:%Y-%m-%d %H:%M:%SZ}"

    def doubt(self) -> str:
        """Why what lies there is nothing that we wrote; empty if it is, or if nothing is there."""
        if not os.path.lexists(self.path):
            return ""
        content = files.read_own(self.path, most=LARGEST_BYTES)
        if content is None:
            return f"the session file {self.path} is not a file of our own, which none other writes"
        return "" if _document(content) else f"the session file {self.path} holds no session"

    def write(self, credentials: Credentials, leaf: bytes) -> None:
        """Keep ``credentials``, made with the certificate ``leaf``, readable by our user alone.

        Raises `SessionFileUnusable`.
        """
        kept = {
            **asdict(credentials),
            **{name: getattr(credentials, name).isoformat() for name in _TIMES},
        }
        document = json.dumps({**self._keys(leaf), "place": self.place, "credentials": kept})
        try:
            files.write_private(self.path, document.encode())
        except (OSError, ValueError) as wrong:  # a null in the name is a ValueError
            reason = getattr(wrong, "strerror", None) or "its name has a null character"
            raise SessionFileUnusable(
                f"the session file {self.path} cannot be written: {reason}",
                hint="name a file in a writable folder with --session-file, or leave it out",
            ) from None

    def _keys(self, leaf: bytes | None) -> dict[str, Any]:
        whose = {"place": self.place} if leaf is None else {"leaf": leaf.hex()}
        return {"version": FORMAT_VERSION, "binding": self.binding, **whose}


def binding_of(settings: Settings) -> str:
    """A digest of whom a session is for, where it is from, its length and its name."""
    parts = (
        settings.trust_anchor_arn,
        settings.profile_arn,
        settings.role_arn,
        settings.signing_region,
        settings.service_url,
        settings.duration_seconds,
        settings.role_session_name or "",
    )
    return _digest(parts)


def place_of(settings: Settings) -> str:
    """A digest of what says which certificate in a token is meant, and of no PIN.

    Empty for a certificate in files, or one that a file chooses: those can be looked at.
    """
    if not pkcs11uri.is_one(settings.certificate):
        return ""
    if certselector.file_of(settings.cert_selector or ""):
        return ""
    uris = (settings.certificate, settings.private_key or settings.certificate)
    parts = (
        *(str(Pkcs11Uri.parse(uri)).partition("?")[0] for uri in uris if pkcs11uri.is_one(uri)),
        settings.cert_selector,
        settings.use_latest_expiring_certificate,
        settings.pkcs11_module,
    )
    return _digest(parts)


def _digest(parts: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()


def leaf_digest(identity: Identity) -> bytes:
    """SHA-256 of the leaf certificate, which made the session."""
    return identity.leaf.fingerprint(SHA256())


def _unlike(ours: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Whose a session is that is not ours, in a few words."""
    others = next(name for name, value in ours.items() if document.get(name) != value)
    return _OTHERS[others]


def _document(content: bytes) -> dict[str, Any] | None:
    """What we wrote, with its credentials as such; None for what we did not write."""
    try:
        document = json.loads(content)
        return {**document, "credentials": _credentials(document["credentials"])}
    except _GARBAGE:
        return None


def _credentials(kept: dict[str, str]) -> Credentials:
    """Raises one of ``_GARBAGE`` for what is none."""
    if kept.keys() != {field.name for field in fields(Credentials)}:
        raise ValueError
    if not all(isinstance(kept[name], str) and kept[name] for name in _TEXTS):
        raise TypeError
    texts = {name: kept[name] for name in _TEXTS}
    times = {name: datetime.fromisoformat(kept[name]) for name in _TIMES}
    if any(moment.tzinfo is None for moment in times.values()):
        raise ValueError
    return Credentials(
        access_key_id=texts["access_key_id"],
        secret_access_key=texts["secret_access_key"],
        session_token=texts["session_token"],
        account_id=texts["account_id"],
        issued=times["issued"].astimezone(UTC),
        expires=times["expires"].astimezone(UTC),
    )
