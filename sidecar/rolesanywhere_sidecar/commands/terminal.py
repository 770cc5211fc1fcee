"""Commands that somebody runs at a terminal, or an SDK for him: output, a sentence, an exit code.

Standard output is the answer or nothing; why there is none is one line on standard error. Never
shows the text of an error that nobody foresaw: it may hold anything, and here nothing redacts.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.version import PROGRAM

# What a shell calls a program that SIGINT ended.
INTERRUPTED: Final = 130


class OutputClosed(RolesAnywhereError):
    """Standard output takes no more."""

    code = "OutputClosed"

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"the {what} cannot be written to standard output: {reason}")


def run(work: Callable[[], bytes], *, what: str) -> int:
    """As `attempt`, and print what ``work`` returns; ``what`` names it, such as "credentials"."""

    def printed() -> None:
        if sys.stdout is None:
            raise OutputClosed(what, "it is closed")
        _write(work(), what=what)

    return attempt(printed)


def attempt(work: Callable[[], None]) -> int:
    """Do ``work``; the exit code is 0, 1 on failure, or 130 when interrupted."""
    _speak_in_sentences()
    try:
        work()
    except KeyboardInterrupt:
        return INTERRUPTED
    except RolesAnywhereError as problem:
        tell(f"{problem.code}: {problem}")
        return 1
    except Exception as bug:
        kind = type(bug).__name__
        tell(f"{RolesAnywhereError.code}: an unforeseen {kind}; this is a bug: please report it")
        return 1
    return 0


def tell(sentence: str) -> None:
    """One line on standard error."""
    # Without a standard error print would take standard output.
    if sys.stderr is not None:
        print(f"{PROGRAM}: {sentence}", file=sys.stderr)


def _write(answer: bytes, *, what: str) -> None:
    """Raises `OutputClosed`."""
    try:
        # Not print: what sys.stdout fails to flush, the interpreter tries again as it ends.
        with os.fdopen(sys.stdout.fileno(), "wb", closefd=False) as output:
            output.write(answer)
    except OSError as problem:
        raise OutputClosed(what, problem.strerror or type(problem).__name__) from None


class _Sentence(logging.Formatter):
    """For somebody at a terminal, not for a log collector."""

    def format(self, record: logging.LogRecord) -> str:
        problem = getattr(record, "problem", "")
        return f"{PROGRAM}: {record.getMessage()}{': ' if problem else ''}{problem}"


def _speak_in_sentences() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Sentence())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
