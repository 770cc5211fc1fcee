"""The command: an examination, printed as it goes, and an exit code.

Ends within half a minute whatever hangs, and at once when interrupted.
"""

import asyncio
import logging
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.commands.terminal import INTERRUPTED, tell
from rolesanywhere_sidecar.doctor.coherence import Told
from rolesanywhere_sidecar.doctor.examination import Examination
from rolesanywhere_sidecar.doctor.findings import Finding, exit_code
from rolesanywhere_sidecar.doctor.printing import USUAL_WIDTH, Text, document

# Seconds that a thread which hangs, and which nobody can interrupt, may delay the end.
LAST_RESORT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """``offline`` leaves AWS and the network alone."""

    offline: bool = False
    output: Literal["text", "json"] = "text"


def main(told: Settings | InvalidSettings, options: Options) -> int:
    """Print the report on ``told``, which may be wrong.

    The exit code is 0 when nothing fails, 1 when something does or standard output takes no more,
    and 130 when interrupted.
    """
    # What serve would log, or a library warn of, is a finding here or nothing: off stderr with it.
    logging.getLogger("rolesanywhere_sidecar").addHandler(logging.NullHandler())
    examination = Examination(
        Told.of(told), os.environ, lambda: datetime.now(UTC), offline=options.offline
    )
    with _ended_by_force() as end_soon, warnings.catch_warnings(action="ignore"):
        try:
            return asyncio.run(_report(examination, options, sys.stdout, end_soon))
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:
            # Or the interpreter would try to flush it again as it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except Exception as bug:
            # Its text may hold anything.
            kind = type(bug).__name__
            tell(
                f"{RolesAnywhereError.code}: an unforeseen {kind}; this is a bug: please report it"
            )
            return 1


async def _report(
    examination: Examination, options: Options, output: TextIO, end_soon: Callable[[int], None]
) -> int:
    text = Text(width=_width(output), colour=_has_colour(output, os.environ))
    found: list[Finding] = []
    code = INTERRUPTED
    try:
        async for finding in examination.findings():
            found.append(finding)
            if options.output == "text":
                print(*text.lines(finding), sep="\n", file=output, flush=True)
        ending = text.summary(found) if options.output == "text" else [document(found)]
        print(*ending, sep="\n", file=output, flush=True)
        code = exit_code(found)
    finally:
        # The event loop, as it closes, waits for threads, and one may hang in a name server.
        end_soon(code)
    return code


@contextmanager
def _ended_by_force() -> Iterator[Callable[[int], None]]:
    """A way to end the process after `LAST_RESORT_SECONDS`, unless this block is left before."""
    timers: list[threading.Timer] = []

    def end_soon(code: int) -> None:
        timer = threading.Timer(LAST_RESORT_SECONDS, os._exit, args=(code,))
        timer.daemon = True
        timer.start()
        timers.append(timer)

    try:
        yield end_soon
    finally:
        for timer in timers:
            timer.cancel()


def _width(output: TextIO) -> int:
    """The terminal's, or 80 for a pipe."""
    return shutil.get_terminal_size((USUAL_WIDTH, 24)).columns if output.isatty() else USUAL_WIDTH


def _has_colour(output: TextIO, env: Mapping[str, str]) -> bool:
    """On a terminal that has it, unless NO_COLOR (no-color.org) is set."""
    return output.isatty() and not env.get("NO_COLOR") and env.get("TERM") != "dumb"
