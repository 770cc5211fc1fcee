"""The root of every error that the project raises.

Never catches, never logs: an error is a value with a code, a sentence and a way out.
"""

from typing import ClassVar


class RolesAnywhereError(Exception):
    """A failure that a user can meet: what is wrong, where, and what to do.

    ``code`` never changes once released: it is the Event reason, the metric label and the log
    field. ``problem`` is one sentence with what was got and expected; ``hint`` says what to do.
    Neither may hold a secret. ``retryable`` tells whether time alone can heal it.
    """

    code: ClassVar[str] = "Internal"
    retryable: ClassVar[bool] = False

    def __init__(self, problem: str, *, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem}; {self.hint}" if self.hint else self.problem
