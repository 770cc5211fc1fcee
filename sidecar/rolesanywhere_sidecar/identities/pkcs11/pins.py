"""Where a PIN comes from: a file that a setting names, or what the URI says of one.

Read at each look, so that a new PIN is taken up. Never shows one.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rolesanywhere_contract.pkcs11uri import Pkcs11Uri
from rolesanywhere_sidecar.identities.pkcs11.errors import PinMissing

# Longer than any token takes; who names a wrong file is told so.
LONGEST_PIN: Final = 255


@dataclass(frozen=True, slots=True)
class Pin:
    """A PIN, and in words where it is from."""

    text: str = field(repr=False)
    source: str


@dataclass(frozen=True, slots=True)
class PinSource:
    """A file with the PIN, or the PIN itself, or neither."""

    file: str | None = None
    value: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, pin_file: str | None, *uris: Pkcs11Uri | None) -> "PinSource":
        """The setting wins, and then the first URI that says something."""
        if pin_file is not None:
            return cls(file=pin_file)
        for uri in uris:
            if uri is not None and (uri.pin_source or uri.pin_value):
                return cls(file=uri.pin_file, value=uri.pin_value)
        return cls()

    @property
    def path(self) -> Path | None:
        """The file to read, if there is one."""
        return None if self.file is None else Path(self.file)

    def pin(self, content: bytes | None) -> Pin | None:
        """The PIN, where ``content`` is that of the file. Raises `PinMissing`."""
        if self.file is None or content is None:
            return None if self.value is None else Pin(self.value, "the URI's pin-value")
        return Pin(_read(content, self.file), f"the file {self.file}")


def _read(content: bytes, path: str) -> str:
    """Whoever writes a PIN with an editor ends the line, but only once."""
    try:
        pin = content.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        pin = ""
    if not pin or len(pin) > LONGEST_PIN or "\0" in pin or "\n" in pin:
        raise PinMissing(
            f"the file {path} holds no PIN",
            hint=f"expected one line of text, of {LONGEST_PIN} characters at most",
        )
    return pin
