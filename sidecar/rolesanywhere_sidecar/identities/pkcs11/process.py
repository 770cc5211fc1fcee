"""The parent's end of a child process: start it, ask it, and be rid of it.

Every question has a deadline, and who misses it is killed: there is no other way to be sure of a
module. Blocks, so nothing here runs in an event loop. Knows nothing of tokens.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

from rolesanywhere_sidecar.identities.pkcs11 import framing, stores
from rolesanywhere_sidecar.identities.pkcs11.framing import BrokenFrame, Message

# A killed process ends at once, unless it is inside a driver: then nobody can end it.
REAP_SECONDS: Final = 1.0

# What a module says before it dies may tell why; more than this nobody reads.
LARGEST_LAST_WORDS: Final = 2000

# By the parent's own path, because an isolated interpreter knows neither PYTHONPATH nor, without
# its site module, which costs time, what is installed.
_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv[1:-2];"
    "from rolesanywhere_sidecar.identities.pkcs11.child import main; main()"
)

# Settings and credentials of ours and of the application's: a vendor's module needs neither.
_WITHHELD: Final = ("ROLESANYWHERE_", "AWS_")

_undead: list["subprocess.Popen[bytes]"] = []


class Died(Exception):
    """The child is gone; ``words`` are the last that it wrote to standard error."""

    def __init__(self, words: str) -> None:
        super().__init__("the child process ended")
        self.words = words


class Silent(Exception):
    """The child has not answered in time, and was killed."""


class Child:
    """A child process that answers one question at a time."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """Start it with what of ``env`` is not withheld. Raises OSError."""
        _bury()
        held, self._lifeline = os.pipe()
        theirs, self._wire = socket.socketpair()
        try:
            self._process = _spawned(env, held, theirs.fileno())
        except BaseException:
            self._wire.close()
            os.close(self._lifeline)
            raise
        finally:
            os.close(held)
            theirs.close()
        self._ending = threading.Lock()
        self._pin = ""
        self._words: deque[int] = deque(maxlen=LARGEST_LAST_WORDS)
        self._listener = threading.Thread(target=self._listen, name="pkcs11-words", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def ask(self, question: Message, *, within: float) -> Message:
        """The answer to ``question``. Raises `Silent` or `Died`; either way the child is gone."""
        end = time.monotonic() + within
        self._pin = str(question.get("pin", self._pin))

        def receive(count: int) -> bytes:
            self._wire.settimeout(max(end - time.monotonic(), 0.001))
            return self._wire.recv(count)

        try:
            self._wire.settimeout(within)
            self._wire.sendall(framing.encode(question))
            answer = framing.read(receive)
        except TimeoutError:
            self.end()
            raise Silent from None
        except (OSError, BrokenFrame):
            answer = None
        if answer is None:
            self.end()
            self._listener.join(REAP_SECONDS)
            raise Died(self._last_words()) from None
        return answer

    def end(self) -> None:
        """Kill the child; more than once does no harm."""
        with self._ending:
            self._kill()
            self._wire.close()
            if self._lifeline >= 0:
                os.close(self._lifeline)
                self._lifeline = -1
        try:
            self._process.wait(REAP_SECONDS)
        except subprocess.TimeoutExpired:
            _undead.append(self._process)

    def _kill(self) -> None:
        """With all that a module has started: that would hold on to our descriptors."""
        # Once it has been waited for, its number may be another's.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        """Without the PIN, which a module that is being debugged may show."""
        words = bytes(self._words).decode(errors="replace")
        return words.replace(self._pin, "[redacted]") if self._pin else words

    def _listen(self) -> None:
        """Read what modules write, so that none waits for a reader; keep the end of it."""
        assert self._process.stderr is not None  # noqa: S101 - for mypy; it is a pipe
        with self._process.stderr as stream, contextlib.suppress(OSError, ValueError):
            while part := os.read(stream.fileno(), 4096):
                self._words.extend(part)


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """What of ``env`` a module sees: neither our settings nor anybody's credentials."""
    kept = {name: value for name, value in env.items() if not _is_withheld(name, value)}
    # tpm2-tss writes each error to standard error, and a module tells its caller anyway.
    return {"TSS2_LOG": "all+none", **kept}


def _is_withheld(name: str, value: str) -> bool:
    # A module of a token in the network may need the proxy, but our login there is ours.
    has_login = name.lower().endswith("_proxy") and "@" in value
    return has_login or name.startswith(_WITHHELD)


def _spawned(env: Mapping[str, str], lifeline: int, wire: int) -> "subprocess.Popen[bytes]":
    paths = [os.path.abspath(path) for path in sys.path]  # noqa: PTH100 - "" is where we are
    return subprocess.Popen(  # noqa: S603 - our own interpreter with our own words
        [sys.executable, "-I", "-S", "-c", _BOOT, *paths, str(lifeline), str(wire)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(lifeline, wire),
        env=stores.lockable(environment(env)),
        # Ctrl-C is for us: the child ends with us, not before; and its group is its own.
        start_new_session=True,
    )


def _bury() -> None:
    """Those that could not be waited for when they were killed, if they have ended since."""
    _undead[:] = [process for process in _undead if process.poll() is None]
