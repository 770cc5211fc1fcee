"""What can be wrong with a private key.

No text here ever quotes the key, nor the library's words about it.
"""

from rolesanywhere_contract.errors import RolesAnywhereError


class InvalidKey(RolesAnywhereError):
    """There is no private key, or it is damaged; in mid-rotation that passes."""

    code = "InvalidKey"


class UnsupportedKey(RolesAnywhereError):
    """A key that exists but cannot sign for Roles Anywhere here."""

    code = "UnsupportedKey"
