"""The file of the PIN latch: JSON that only our user may read, replaced whole.

Believes no file that somebody else may have written. Decides nothing about PINs.
"""

import json
import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rolesanywhere_sidecar import files, locks
from rolesanywhere_sidecar.identities.pkcs11.errors import PinLatchUnusable
from rolesanywhere_sidecar.identities.pkcs11.verdicts import Record

log = logging.getLogger(__name__)

FORMAT_VERSION: Final = 1
LARGEST_BYTES: Final = 64 * 1024
# Some tokens, and the PINs that somebody has tried on them; the oldest is forgotten.
MOST_RECORDS: Final = 16


class LatchFile:
    """Records at ``path``; without one, or where it cannot be written, in memory.

    But where it is ``required``, what cannot be written is an error.
    """

    def __init__(self, path: Path | None, *, required: bool) -> None:
        self.path = path
        self.salt = secrets.token_bytes(16)
        self._required = required
        self._records: list[Record] = []

    @contextmanager
    def locked(self, *, within: float) -> Iterator[None]:
        """Hold the file against other processes, and know what they wrote.

        Raises `locks.LockBusy` or `PinLatchUnusable`.
        """
        if self.path is None:
            yield
            return
        with ExitStack() as held:
            try:
                self.path.parent.mkdir(mode=0o700, parents=not self._required, exist_ok=True)
                held.enter_context(locks.waited_for(locks.beside(self.path), within=within))
            except locks.LockBusy:
                raise
            except (locks.LockUnavailable, OSError, ValueError) as wrong:
                self._do_without(wrong)
            else:
                self._read(self.path)
            yield

    def record(self, token: str, digest: str) -> Record | None:
        """What is known of this token and PIN."""
        known = (each for each in self._records if (each.token, each.digest) == (token, digest))
        return next(known, None)

    def put(self, record: Record) -> None:
        """Know ``record`` in place of what was known. Raises `PinLatchUnusable`."""
        self._write([*self._without(record.token, record.digest), record])

    def remove(self, token: str, digest: str) -> None:
        """Know nothing of this token and PIN any more. Raises `PinLatchUnusable`."""
        self._write(self._without(token, digest))

    def _without(self, token: str, digest: str) -> list[Record]:
        return [each for each in self._records if (each.token, each.digest) != (token, digest)]

    def _read(self, path: Path) -> None:
        content = files.read_own(path, most=LARGEST_BYTES)
        if content is None and path.exists():
            self._do_without(OSError(0, "it is not a file of our own, which none other writes"))
        elif content is not None:
            self.salt, self._records = _parsed(content) or (self.salt, self._records)

    def _write(self, records: Sequence[Record]) -> None:
        self._records = list(records)[-MOST_RECORDS:]
        if self.path is None:
            return
        try:
            files.write_private(self.path, _shown(self.salt, self._records), durable=True)
        except (OSError, ValueError) as wrong:
            self._do_without(wrong)

    def _do_without(self, wrong: Exception) -> None:
        reason = getattr(wrong, "strerror", None) or str(wrong)
        if self._required:
            raise PinLatchUnusable(
                f"the PIN latch file {self.path} cannot be used, so no PIN is tried: {reason}",
                hint="name a file of our own user in a writable folder that outlives restarts",
            ) from None
        log.warning("PINs remembered in memory alone", extra={"problem": reason})
        self.path = None


def _shown(salt: bytes, records: Sequence[Record]) -> bytes:
    document = {
        "version": FORMAT_VERSION,
        "salt": salt.hex(),
        "records": [{**asdict(each), "at": each.at.isoformat()} for each in records],
    }
    return json.dumps(document).encode()


def _parsed(content: bytes) -> tuple[bytes, list[Record]] | None:
    """None for what we did not write."""
    try:
        document: dict[str, Any] = json.loads(content)
        if document["version"] != FORMAT_VERSION:
            return None
        records = [
            Record(**{**each, "at": datetime.fromisoformat(each["at"])})
            for each in document["records"]
        ]
        if any(each.at.tzinfo is None for each in records):
            return None
        return bytes.fromhex(document["salt"]), records
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
