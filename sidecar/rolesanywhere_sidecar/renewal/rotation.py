"""Notices that the identity's files have changed, and has the session renewed with the new ones.

Polls, because a secret volume swaps a symbolic link that inotify on the file does not see. Never
loads an identity and never dies of one: files that cannot be read in mid-rotation heal.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NoReturn, Protocol

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.clock import Clock
from rolesanywhere_sidecar.identities import volumes
from rolesanywhere_sidecar.lanes import Lane
from rolesanywhere_sidecar.renewal.problems import Problem

log = logging.getLogger(__name__)

# The kubelet itself takes up to a minute or two to bring a new Secret into a pod.
POLL_SECONDS: Final = 2.0

# A look at files of a few kilobytes that takes longer is one at a volume that hangs. That is for
# readiness to tell: to restart us would take away a good session, and mend no volume.
PATIENCE_SECONDS: Final = 10.0


class Fingerprinted(Protocol):
    """Files that can be told apart from what they were."""

    @property
    def certificate(self) -> str:
        """The path that says which files they are."""
        ...

    def fingerprint(self) -> bytes:
        """A hash of all contents. Raises `RolesAnywhereError` or `OSError` when unreadable."""


class RotationWatcher:
    """Calls ``changed`` once for each new content that becomes readable."""

    def __init__(
        self,
        files: Fingerprinted,
        *,
        changed: Callable[[], None],
        clock: Clock,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._files = files
        self._changed = changed
        self._clock = clock
        self._patience = patience
        self._lane = Lane("rotation")
        self._seen: bytes | None = None
        self._problem: Problem | None = None
        self._last_turn = clock.monotonic()

    @property
    def last_problem(self) -> Problem | None:
        """Why the files cannot be read; none while they can."""
        return self._problem

    @property
    def is_stuck(self) -> bool:
        """Whether `run` has missed its turns for far longer than a look at the files takes."""
        return self._clock.monotonic() - self._last_turn > 30 * POLL_SECONDS

    async def run(self) -> NoReturn:
        """Look every few seconds, for ever; returns only by cancellation."""
        never = asyncio.Event()
        while True:
            self._last_turn = self._clock.monotonic()
            await self.look()
            await self._clock.pause(POLL_SECONDS, unless=never)

    async def look(self) -> None:
        """Compare once; the first content is what later ones differ from.

        Content that becomes readable is news, whatever it is: renewals have failed meanwhile.
        """
        try:
            found = await self._fingerprint()
        except Exception as unreadable:
            # Whatever it was, dying of it would take away what is still valid.
            self._complain(unreadable)
            return
        healed, self._problem = self._problem is not None, None
        before, self._seen = self._seen, found
        if healed or before not in (None, found):
            log.info("identity rotated", extra={"fingerprint": found.hex()[:16]})
            self._changed()

    async def _fingerprint(self) -> bytes:
        """Of several looks that hang, one is under way, and the others wait for it."""
        try:
            async with asyncio.timeout(self._patience):
                return await self._lane.run(self._files.fingerprint)
        except TimeoutError:
            raise volumes.silent(self._files.certificate, self._patience) from None

    def _complain(self, unreadable: Exception) -> None:
        if self._problem is None:
            foreseen = isinstance(unreadable, RolesAnywhereError | OSError)
            log.warning(
                "identity files are unreadable",
                exc_info=None if foreseen else unreadable,
                extra={
                    "code": getattr(unreadable, "code", "UnreadableFile"),
                    "problem": str(unreadable),
                },
            )
        self._problem = Problem.of(unreadable)
