"""An HTTP request exactly as it arrived, and the answer a service gives when it says no.

Nothing here decodes, normalises or reorders: a signature is checked over what was on the wire.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WireRequest:
    """Method, request target and header fields byte for byte (as Latin-1 text), and the body.

    Headers and body stay out of ``repr``: they carry signatures and session tokens.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """The target before the first ``?``."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target after the first ``?``, still encoded."""
        return self.target.partition("?")[2]

    def all(self, name: str) -> list[str]:
        """Every value of the header ``name`` (any case), in the order of arrival."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The only value of the header ``name``; ``None`` when it is absent or repeated."""
        values = self.all(name)
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class ServiceError:
    """A refusal: HTTP status, the service's error type, its sentence."""

    status: int
    code: str
    message: str


class Refusal(Exception):
    """Carries a ``ServiceError`` out of the depth of a verification."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(error.message)
        self.error = error
