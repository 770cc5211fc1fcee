"""Remembers, across restarts, which PIN a token has refused, so that none is tried twice.

Three wrong PINs lock a whole TPM, and a container that fails is started again and again. So what
is about to be tried is on disk before it is tried, with a salted hash of the PIN, and is taken away
when the token accepts it: of a PIN that works, nothing stays there. Never logs in itself.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rolesanywhere_sidecar.identities.pkcs11 import verdicts
from rolesanywhere_sidecar.identities.pkcs11.latchfile import LatchFile
from rolesanywhere_sidecar.identities.pkcs11.pins import Pin
from rolesanywhere_sidecar.identities.pkcs11.verdicts import Record

# Another process logs in meanwhile, and takes as long as a call may.
LOCK_SECONDS: Final = 5.0


def slow_digest(pin: str, salt: bytes) -> str:
    """Slow on purpose, yet no slowness hides a PIN of four digits from who reads the file."""
    return hashlib.scrypt(pin.encode(), salt=salt, n=2**13, r=8, p=2, dklen=32).hex()


class Trial:
    """One login; who makes it says here how it ended, or leaves it open if nobody knows."""

    verdict: str | None = None

    def accepted(self) -> None:
        """The token took the PIN."""
        self.verdict = verdicts.ACCEPTED

    def refused(self, verdict: str) -> None:
        """The token said one of `verdicts.PROBLEMS`."""
        self.verdict = verdict

    def unjudged(self) -> None:
        """The token failed otherwise, and said nothing of the PIN."""
        self.verdict = verdicts.UNJUDGED


class PinLatch:
    """The memory in ``file``, and of this process; ``digest`` is of a PIN and a salt."""

    def __init__(
        self,
        file: LatchFile,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        digest: Callable[[str, bytes], str] = slow_digest,
    ) -> None:
        self._file = file
        self._now = now
        self._digest_of = digest
        self._accepted: set[tuple[str, str]] = set()

    @classmethod
    def at(cls, path: Path | None, *, required: bool) -> "PinLatch":
        """That of the file at ``path``; see `LatchFile`."""
        return cls(LatchFile(path, required=required))

    def has_accepted(self, token: str, pin: Pin) -> bool:
        """Whether ``token`` has taken this PIN since this process began."""
        return (token, pin.text) in self._accepted

    @contextmanager
    def trying(self, token: str, pin: Pin) -> Iterator[Trial]:
        """While the block logs in to ``token``.

        Raises, before the block, `PinProblem` where this PIN must not be tried, and
        `locks.LockBusy` while another process is at it.
        """
        trial = Trial()
        if self.has_accepted(token, pin):
            # Whatever comes of it, this is no guess: nothing of it is to lie on a disk before.
            try:
                yield trial
            finally:
                if trial.verdict in verdicts.PROBLEMS:
                    self._accepted.discard((token, pin.text))
                    with self._file.locked(within=LOCK_SECONDS):
                        self._note(token, self._digest(pin), trial.verdict, before=None)
            return
        with self._file.locked(within=LOCK_SECONDS):
            digest, now = self._digest(pin), self._now()
            before = self._file.record(token, digest)
            if before is not None and before.at > now:
                # A clock that was set back tells nothing, so it counts from now on.
                before = replace(before, at=now)
                self._file.put(before)
            if before is not None and before.holds(now):
                raise before.problem(pin.source, file=self._file.path)
            self._file.put(verdicts.begun(before, token, digest, at=now))
            try:
                yield trial
            finally:
                if trial.verdict == verdicts.ACCEPTED:
                    self._accepted.add((token, pin.text))
                self._note(token, digest, trial.verdict, before=before)

    def _note(self, token: str, digest: str, verdict: str | None, *, before: Record | None) -> None:
        """Know what came of it; nothing new while nobody knows."""
        if verdict is None:
            return
        if verdict in verdicts.PROBLEMS:
            self._file.put(Record(token, digest, verdict, 0, self._now()))
        elif verdict == verdicts.UNJUDGED and before is not None:
            self._file.put(before)
        else:
            self._file.remove(token, digest)

    def _digest(self, pin: Pin) -> str:
        return self._digest_of(pin.text, self._file.salt)
