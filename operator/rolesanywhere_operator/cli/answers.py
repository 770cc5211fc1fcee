"""What a command has to say: a value, so that saying it is one line at the edge.

Never prints.
"""

from dataclasses import dataclass
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError

# How commands end.
YES: Final = 0
NO: Final = 1
NO_ANSWER: Final = 2


class UnusableInput(RolesAnywhereError):
    """A command was given something that it can give no answer to."""

    code = "UnusableInput"


@dataclass(frozen=True, slots=True)
class Answer:
    """``output`` is for standard output, ``remarks`` for standard error."""

    code: int
    output: str
    remarks: str = ""
