"""AWS's own credential helper (``aws_signing_helper``), built from its Go module as a witness."""

from pathlib import Path
from typing import Final

from tests.support.gotools import build

_PACKAGE: Final = "github.com/aws/rolesanywhere-credential-helper"


def find_or_build() -> Path:
    """The helper of the version pinned for tests. Raises ``ToolMissing``."""
    return build("aws-helper", _PACKAGE, cgo=True)
