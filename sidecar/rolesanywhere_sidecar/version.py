"""Which release this is; images carry the code without the package's metadata."""

from typing import Final

VERSION: Final = "0.1.0"
