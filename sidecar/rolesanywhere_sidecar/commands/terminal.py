"""Commands that somebody runs at a terminal, or an SDK for him: output, a sentence, an exit code.

Standard output is the answer or nothing; why there is none is one line on standard error. Each has
an end, whatever hangs. Never shows the text of an error that nobody foresaw: it may hold anything,
and here nothing redacts.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar import running
from rolesanywhere_sidecar.commands import output
from rolesanywhere_sidecar.version import PROGRAM

# What a shell calls a program that SIGINT ended.
INTERRUPTED: Final = 130

# Seconds for the whole of a command: Go's SDK gives a credential process a minute, and after that
# nobody reads our sentence.
TOTAL_SECONDS: Final = 50.0
# Seconds from an interrupt to the end by force.
LAST_RESORT_SECONDS: Final = 1.0


def run(work: Callable[[], bytes], *, what: str) -> int:
    """As `attempt`, and print what ``work`` returns; ``what`` names it, such as "credentials"."""

    def printed() -> None:
        output.require(what)
        output.write(work(), what=what)

    return attempt(printed)


def attempt(work: Callable[[], None], *, within: float | None = TOTAL_SECONDS) -> int:
    """Do ``work``; the exit code is 0, 1 on failure, or 130 when interrupted.

    What takes longer than ``within`` seconds fails; None is for work that goes on, and ends itself
    (see `running.stop_on_signals`).
    """
    _speak_in_sentences()
    with nullcontext() if within is None else _bounded(within):
        try:
            work()
        except KeyboardInterrupt:
            return INTERRUPTED
        except RolesAnywhereError as problem:
            output.tell(f"{problem.code}: {problem}")
            return 1
        except Exception as bug:
            kind = type(bug).__name__
            output.tell(
                f"{RolesAnywhereError.code}: an unforeseen {kind}; this is a bug: please report it"
            )
            return 1
    return 0


def _bounded(within: float) -> AbstractContextManager[None]:
    return running.ended_by_force(
        within=within,
        too_late=lambda: output.tell(
            f"TimedOut: no end within {within:g} seconds; a file system or a name server may hang:"
            " ask doctor with the same flags"
        ),
        after_signal=LAST_RESORT_SECONDS,
        code=INTERRUPTED,
    )


class _Sentence(logging.Formatter):
    """For somebody at a terminal, not for a log collector."""

    def format(self, record: logging.LogRecord) -> str:
        problem = getattr(record, "problem", "")
        return f"{PROGRAM}: {record.getMessage()}{': ' if problem else ''}{problem}"


def _speak_in_sentences() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Sentence())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
