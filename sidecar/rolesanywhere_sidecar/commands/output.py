"""Standard output and standard error, whatever they are: closed, full, or of few characters.

Never leaves anything for the interpreter to flush as it ends: what it cannot write, it tries again,
and complains of at length.
"""

import io
import os
import sys
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.version import PROGRAM

_USUAL: Final = "utf-8"


class OutputClosed(RolesAnywhereError):
    """Standard output takes no more; ``is_left`` if that is because its reader has gone."""

    code = "OutputClosed"

    def __init__(self, what: str, reason: str, *, is_left: bool = False) -> None:
        super().__init__(f"the {what} cannot be written to standard output: {reason}")
        self.is_left = is_left


def say(text: str, *, what: str) -> None:
    """Lines on standard output; what it has no character for is escaped. Raises `OutputClosed`."""
    encoding = getattr(sys.stdout, "encoding", None) or _USUAL
    write(f"{text}\n".encode(encoding, "backslashreplace"), what=what)


def write(answer: bytes, *, what: str) -> None:
    """Bytes on standard output, at once. Raises `OutputClosed`; ``what`` is its subject."""
    require(what)
    try:
        descriptor = sys.stdout.fileno()
    except io.UnsupportedOperation:  # a stream in memory
        sys.stdout.write(answer.decode(sys.stdout.encoding or _USUAL))
        return
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as output:
            output.write(answer)
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
        is_left = isinstance(problem, BrokenPipeError)
        raise OutputClosed(what, reason, is_left=is_left) from None


def require(what: str) -> None:
    """Raises `OutputClosed` if there is no standard output at all."""
    if sys.stdout is None:
        raise OutputClosed(what, "it is closed")


def tell(sentence: str) -> None:
    """One line on standard error, if there is one: print would take standard output instead."""
    if sys.stderr is None:
        return
    try:
        print(f"{PROGRAM}: {sentence}", file=sys.stderr, flush=True)
    except OSError:
        # Full or gone; nor may the interpreter try again as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
