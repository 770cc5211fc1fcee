"""Keeps a module's child process, and climbs the ladder when it fails: once more with a new
session, then with the module initialized anew, then in a new process.

A call that hangs ends its process at once. Who ends too often is started again later. Blocks:
`asyncio` code runs it in a lane. Knows no keys.
"""

import importlib.util
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Final, Protocol, TypeVar

from rolesanywhere_sidecar.identities.identity import NoSuchCertificate
from rolesanywhere_sidecar.identities.pkcs11 import process
from rolesanywhere_sidecar.identities.pkcs11.conversation import Conversation, ModuleError
from rolesanywhere_sidecar.identities.pkcs11.errors import (
    ModuleCrashed,
    ModuleUnusable,
    NoSuchKey,
    NoSuchToken,
    PinProblem,
    Pkcs11Missing,
    TokenSilent,
    TokenUnavailable,
)
from rolesanywhere_sidecar.identities.pkcs11.framing import Message

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

# A TPM takes a second at most, a network HSM seconds on a bad day. All together stays within a
# renewal's own deadline, twice: an identity is loaded, and then it signs.
CALL_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 12.0

# Between two processes that gave nothing, from the second on, doubling.
FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 30.0

# What python-pkcs11 says when the file is no module; it has no error of its own for that.
_NOT_A_MODULE: Final = ("OS exception while loading", "undefined symbol")

# Where an object or a token was and is no more, a module may just not have looked again.
_PERHAPS_BACK: Final = (NoSuchToken, NoSuchKey, NoSuchCertificate)

_FAILURES: Final = (ModuleError, process.Silent, process.Died)

_REMEDY: Final = "check the token, and whatever the module speaks to; it is asked again by itself"


class Rung(IntEnum):
    """How much is thrown away before work is tried again."""

    NOTHING = 0
    SESSION = 1
    MODULE = 2
    PROCESS = 3


class Child(Protocol):
    """A process that answers, as `process.Child` is one."""

    def ask(self, question: Message, *, within: float) -> Message: ...
    def end(self) -> None: ...


class Supervisor:
    """One module at ``path`` in one child process at a time; ``env`` is what that may see."""

    def __init__(
        self,
        path: str,
        *,
        env: Mapping[str, str],
        spawn: Callable[[Mapping[str, str]], Child] = process.Child,
        monotonic: Callable[[], float] = time.monotonic,
        restarted: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self._env = env
        self._spawn = spawn
        self._monotonic = monotonic
        self._restarted = restarted
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._conversation: Conversation | None = None
        self._closed = False
        self._starts = self._in_vain = 0
        self._not_before = self._deadline = monotonic()

    def run(self, work: Callable[[Conversation], _Result]) -> _Result:
        """What ``work`` gives; it may be called again after a failure, with all to be done anew.

        Raises `errors.TokenProblem`, or what ``work`` raises.
        """
        with self._lock:
            self._deadline = self._monotonic() + TOTAL_SECONDS
            rung, fresh = Rung.NOTHING, self._child is None
            while True:
                try:
                    result = work(self._on(rung))
                except (PinProblem, *_PERHAPS_BACK, *_FAILURES) as wrong:
                    rung = self._climbed(rung, wrong, fresh=fresh)
                else:
                    self._in_vain = 0
                    return result

    @property
    def is_asked(self) -> bool:
        """Whether `run` is under way."""
        return self._lock.locked()

    def close(self) -> None:
        """End the child, also in the middle of a call. No other is started."""
        self._closed = True
        child = self._child
        if child is not None:
            child.end()

    def _on(self, rung: Rung) -> Conversation:
        """The conversation, once what ``rung`` says was thrown away."""
        if rung is Rung.PROCESS:
            self._drop()
        if self._conversation is None:
            return self._started()
        if rung is Rung.SESSION:
            self._conversation.close_sessions()
        elif rung is Rung.MODULE:
            self._conversation.reinitialize()
        return self._conversation

    def _climbed(self, rung: Rung, wrong: Exception, *, fresh: bool) -> Rung:
        """The next rung after ``wrong``, or what to raise where there is none."""
        if isinstance(wrong, (PinProblem, *_PERHAPS_BACK)):
            self._in_vain = 0  # whatever it says, the module answers
        if isinstance(wrong, PinProblem):
            if self._conversation is not None and self._conversation.leaks:
                self._drop()
            raise wrong
        if isinstance(wrong, _PERHAPS_BACK):
            if fresh or rung >= Rung.MODULE:
                raise wrong
            return Rung.MODULE
        gone = isinstance(wrong, process.Silent | process.Died)
        if gone:
            self._lost()
        if isinstance(wrong, process.Died) and wrong.words:
            words = {"pkcs11_module": self.path, "words": wrong.words}
            log.warning("last words of a PKCS#11 module", extra=words)
        problem = self._told(wrong)
        if rung is Rung.PROCESS or self._monotonic() >= self._deadline:
            raise problem from None
        climbed = Rung.PROCESS if gone else Rung(rung + 1)
        extra = {"problem": problem.problem, "with_new": climbed.name.lower()}
        log.warning("token asked again", extra=extra)
        return climbed

    def _started(self) -> Conversation:
        if self._closed:
            raise TokenUnavailable("this process ends, and speaks to tokens no more")
        wait = self._not_before - self._monotonic()
        if wait > 0:
            raise TokenUnavailable(
                f"the process of the PKCS#11 module {self.path} was started {self._in_vain} times"
                " in vain",
                hint=f"it is started again in {wait:.0f} seconds; see the log for why it ended",
            )
        check_module(self.path)
        self._count_start()
        try:
            self._child = self._spawn(self._env)
        except OSError as wrong:
            raise TokenUnavailable(
                f"no process could be started for the PKCS#11 module {self.path}: {wrong.strerror}",
                hint="it needs memory, a free process number and our own Python; it is tried again"
                " by itself",
            ) from None
        conversation = Conversation(self._child, within=self._within)
        try:
            conversation.load(self.path)
        except ModuleError as wrong:
            self._drop()
            if wrong.words.startswith(_NOT_A_MODULE) or "undefined symbol" in wrong.words:
                raise ModuleUnusable(
                    f"{self.path} cannot be loaded as a PKCS#11 module: {wrong.words}",
                    hint="name the .so file of one as --pkcs11-lib",
                ) from None
            raise
        self._conversation = conversation
        return conversation

    def _count_start(self) -> None:
        if self._starts:
            self._restarted()
        if self._in_vain:
            wait = FIRST_WAIT_SECONDS * 2.0 ** (self._in_vain - 1)
            self._not_before = self._monotonic() + min(wait, LONGEST_WAIT_SECONDS)
        self._starts += 1
        self._in_vain += 1

    def _within(self) -> float:
        return max(0.05, min(CALL_SECONDS, self._deadline - self._monotonic()))

    def _lost(self) -> None:
        self._child = self._conversation = None

    def _drop(self) -> None:
        if self._child is not None:
            self._child.end()
        self._lost()

    def _told(self, wrong: Exception) -> TokenUnavailable:
        """``wrong``, for those who do not know of child processes."""
        if isinstance(wrong, process.Silent):
            return silent(self.path, CALL_SECONDS, then=", and its process was killed")
        if isinstance(wrong, process.Died):
            return ModuleCrashed(
                f"the process of the PKCS#11 module {self.path} ended by itself",
                hint="the log has its last words; it is started again by itself",
            )
        return TokenUnavailable(f"the PKCS#11 module {self.path} fails: {wrong}", hint=_REMEDY)


def silent(path: str, seconds: float, *, then: str = "") -> TokenSilent:
    """That the module at ``path`` has not answered for so many ``seconds``, and what came of it."""
    return TokenSilent(
        f"the PKCS#11 module {path} did not answer within {seconds:g} seconds{then}", hint=_REMEDY
    )


def check_module(path: str) -> None:
    """Returns if there is something to load, and something to load it with.

    Raises `Pkcs11Missing` or `ModuleUnusable`.
    """
    if importlib.util.find_spec("pkcs11") is None:
        raise Pkcs11Missing
    if not Path(path).is_file() or not os.access(path, os.R_OK):
        raise ModuleUnusable(
            f"the PKCS#11 module {path} is no file that can be read",
            hint="name the .so file of one as --pkcs11-lib; in a pod, mount it",
        )
