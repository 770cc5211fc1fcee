"""A failure that passes, noted beside the session file for those who wait to ask the same.

A throttled account stays throttled while everybody asks again. The note holds a time and a code,
and never a text. It is a courtesy: one that cannot be read or written is none.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar import files
from rolesanywhere_sidecar.failures import (
    EndpointUnreachable,
    InvalidReply,
    ServiceFailure,
    ServiceUnavailable,
    Throttled,
)
from rolesanywhere_sidecar.renewal.sessionfile import SessionFile

# For so long whoever comes fails, too, without asking.
SHARED: Final = timedelta(seconds=5)

# Only what says nothing of who asked.
_BY_CODE: Final = {
    kind.code: kind for kind in (Throttled, ServiceUnavailable, EndpointUnreachable, InvalidReply)
}
_LARGEST_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class FailureNote:
    """The note at ``path``, as far as it is about ``binding``."""

    path: Path
    binding: str

    @classmethod
    def beside(cls, file: SessionFile) -> "FailureNote":
        """The note for those who share ``file``."""
        return cls(file.path.with_name(f"{file.path.name}.failure"), file.binding)

    def write(self, problem: RolesAnywhereError, *, at: datetime) -> None:
        """Note ``problem`` if others would meet it, too."""
        if problem.code in _BY_CODE:
            note = {"binding": self.binding, "code": problem.code, "at": at.isoformat()}
            with suppress(OSError, ValueError):
                files.write_private(self.path, json.dumps(note).encode())

    def read(self, *, waiting_since: datetime, at: datetime) -> ServiceFailure | None:
        """What those fail with that wait since then; None if they are to ask for themselves."""
        try:
            note = json.loads(files.read_own(self.path, most=_LARGEST_BYTES) or b"")
            noted, kind = datetime.fromisoformat(note["at"]), _BY_CODE[note["code"]]
            is_ours = note["binding"] == self.binding
            is_fresh = min(waiting_since, at - SHARED) <= noted <= at
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        if not (is_ours and is_fresh):
            return None
        return kind(
            f"another process that shares this session file failed so at {noted:%H:%M:%S} UTC,"
            " and this one did not ask again",
            hint=f"try again in {SHARED.seconds} seconds",
        )
