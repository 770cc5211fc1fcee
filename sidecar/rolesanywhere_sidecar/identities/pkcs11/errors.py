"""What can be wrong with a key in a token, one class for each thing to do about it.

    TokenProblem
    ├─ Pkcs11Missing        python-pkcs11 is not installed
    ├─ ModuleUnusable       the module cannot be loaded
    ├─ TokenUnavailable     (retryable) device, server or module fails
    │  ├─ TokenSilent       no answer in time, so the process was killed
    │  └─ ModuleCrashed     the process is gone
    ├─ NoSuchToken          (retryable) no token is as the URI says: it may be back later
    ├─ AmbiguousToken       several are
    ├─ NoSuchKey            no key there is as the URI says
    ├─ AmbiguousKey         several are
    ├─ SignatureWrong       (retryable) a signature that the certificate does not verify
    └─ PinProblem           each its own class below; nothing is tried again for any of them

No text here ever holds a PIN.
"""

from rolesanywhere_contract.errors import RolesAnywhereError


class TokenProblem(RolesAnywhereError):
    """Something is wrong with a key in hardware; each class below has its code."""


class Pkcs11Missing(TokenProblem):
    """What speaks PKCS#11 is not installed."""

    code = "Pkcs11Missing"

    def __init__(self) -> None:
        super().__init__(
            "a pkcs11: URI is set, but python-pkcs11 is not installed here",
            hint="use the image's variant for PKCS#11, or install rolesanywhere[pkcs11]",
        )


class ModuleUnusable(TokenProblem):
    """The PKCS#11 module cannot be loaded; time alone does not change that."""

    code = "ModuleUnusable"


class TokenUnavailable(TokenProblem):
    """The token, its server or its module fails; it may be back later."""

    code = "TokenUnavailable"
    retryable = True


class TokenSilent(TokenUnavailable):
    """The module did not answer in time, and its process was killed."""

    code = "TokenSilent"


class ModuleCrashed(TokenUnavailable):
    """The module's process ended by itself."""

    code = "ModuleCrashed"


class NoSuchToken(TokenProblem):
    """No token is as the URI says; it may be plugged in, or its server started, later."""

    code = "NoSuchToken"
    retryable = True


class AmbiguousToken(TokenProblem):
    """Several tokens are as the URI says."""

    code = "AmbiguousToken"


class NoSuchKey(TokenProblem):
    """No private key in the token is as the URI says."""

    code = "NoSuchKey"


class AmbiguousKey(TokenProblem):
    """Several private keys in the token are as the URI says."""

    code = "AmbiguousKey"


class SignatureWrong(TokenProblem):
    """The token gave a signature that the certificate does not verify."""

    code = "SignatureWrong"
    retryable = True


class PinProblem(TokenProblem):
    """The token cannot be logged in to with the PIN at hand."""


class PinMissing(PinProblem):
    """The token asks for a PIN, and there is none."""

    code = "PinMissing"


class PinIncorrect(PinProblem):
    """The token refused the PIN; it was tried once."""

    code = "PinIncorrect"


class PinLengthWrong(PinProblem):
    """The PIN is too short or too long for the token."""

    code = "PinLengthWrong"


class PinLocked(PinProblem):
    """The token takes no PIN any more, or not for a while."""

    code = "PinLocked"


class PinExpired(PinProblem):
    """The token wants its PIN to be changed."""

    code = "PinExpired"


class PinNotInitialized(PinProblem):
    """The token has no user PIN yet."""

    code = "PinNotInitialized"


class PinFinalTry(PinProblem):
    """One more wrong PIN would lock the token, so none is tried."""

    code = "PinFinalTry"


class PinUnanswered(PinProblem):
    """The token was asked about this PIN and did not answer: it is asked again later."""

    code = "PinUnanswered"


class PinLatchUnusable(PinProblem):
    """The file that remembers refused PINs cannot be used, so no PIN is tried."""

    code = "PinLatchUnusable"
