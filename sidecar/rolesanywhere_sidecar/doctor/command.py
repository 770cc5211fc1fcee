"""The command: an examination, printed as it goes, and an exit code.

Ends within half a minute whatever hangs, and at once when interrupted.
"""

import logging
import os
import shutil
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import running
from rolesanywhere_sidecar.commands import output, terminal
from rolesanywhere_sidecar.commands.output import OutputClosed
from rolesanywhere_sidecar.doctor.coherence import Told
from rolesanywhere_sidecar.doctor.examination import Examination
from rolesanywhere_sidecar.doctor.findings import Finding, exit_code
from rolesanywhere_sidecar.doctor.printing import USUAL_WIDTH, Text, document

_WHAT: Final = "report"


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
    codes: list[int] = []

    def work() -> None:
        logging.getLogger("rolesanywhere_sidecar").propagate = False
        try:
            codes.append(running.run(_report(examination, options)))
        except OutputClosed as closed:
            if not closed.is_left:
                raise
            codes.append(1)  # who closes a pipe has seen enough
        finally:
            logging.getLogger("rolesanywhere_sidecar").propagate = True

    with warnings.catch_warnings(action="ignore"):
        failed = terminal.attempt(work)
    return failed or codes[0]


async def _report(examination: Examination, options: Options) -> int:
    output.require(_WHAT)
    text = Text(width=_width(sys.stdout), colour=_has_colour(sys.stdout, os.environ))
    found: list[Finding] = []
    async for finding in examination.findings():
        found.append(finding)
        if options.output == "text":
            output.say("\n".join(text.lines(finding)), what=_WHAT)
    ending = text.summary(found) if options.output == "text" else [document(found)]
    output.say("\n".join(ending), what=_WHAT)
    return exit_code(found)


def _width(output: TextIO) -> int:
    """The terminal's, or 80 for a pipe."""
    return shutil.get_terminal_size((USUAL_WIDTH, 24)).columns if output.isatty() else USUAL_WIDTH


def _has_colour(output: TextIO, env: Mapping[str, str]) -> bool:
    """On a terminal that has it, unless NO_COLOR (no-color.org) is set."""
    return output.isatty() and not env.get("NO_COLOR") and env.get("TERM") != "dumb"
