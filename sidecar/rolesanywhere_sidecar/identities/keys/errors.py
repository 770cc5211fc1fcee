"""What can be wrong with a private key.

No text here ever quotes the key, its password, nor the library's words about them.
"""

from rolesanywhere_contract.errors import RolesAnywhereError


class InvalidKey(RolesAnywhereError):
    """There is no private key, or it is damaged; in mid-rotation that passes."""

    code = "InvalidKey"


class UnsupportedKey(RolesAnywhereError):
    """A key that exists but cannot sign for Roles Anywhere here."""

    code = "UnsupportedKey"


class PasswordMissing(RolesAnywhereError):
    """The key is encrypted, and no password was given."""

    code = "PasswordMissing"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is encrypted, and no password is set",
            hint="put the password into a file and name that as --private-key-password-file",
        )


class PasswordWrong(RolesAnywhereError):
    """The password does not open the key; in mid-rotation that passes."""

    code = "PasswordWrong"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the password that is set does not open {what}",
            hint="check the password, of whose file the last line end is not part; openssl checks"
            " it too",
        )
