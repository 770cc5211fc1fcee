"""Which program and release this is; images carry the code without the package's metadata."""

from typing import Final

PROGRAM: Final = "rolesanywhere-operator"
VERSION: Final = "0.1.0"
