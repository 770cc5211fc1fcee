"""Whether a password failed because OpenSSL's legacy provider is not there.

Files that OpenSSL 1 wrote may be encrypted with RC2, RC4 or DES, which OpenSSL 3 keeps apart. The
library then says the same as of a wrong password. Never opens anything itself.
"""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher

from rolesanywhere_sidecar.identities.keys.errors import UnsupportedKey

# Object identifiers in DER: RFC 7292, appendix C (RC4 of 128 and 40 bits, RC2 of 128 and 40), and
# RFC 8018, appendix A.3 (DES with MD5).
_SCHEMES: Final = tuple(
    map(
        bytes.fromhex,
        (
            "060a2a864886f70d010c0101",
            "060a2a864886f70d010c0102",
            "060a2a864886f70d010c0105",
            "060a2a864886f70d010c0106",
            "06092a864886f70d010503",
        ),
    )
)


def refusal(data: bytes, *, what: str) -> UnsupportedKey | None:
    """The error for ``data`` (DER) that did not open, if the legacy provider is why."""
    if not any(scheme in data for scheme in _SCHEMES) or _is_there():
        return None
    return UnsupportedKey(
        f"{what} is encrypted as OpenSSL 1 did, and OpenSSL's legacy provider is not there to open"
        " it",
        hint="encrypt it anew with AES, for example with openssl pkcs12 or openssl pkcs8 -topk8, or"
        " unset CRYPTOGRAPHY_OPENSSL_NO_LEGACY",
    )


def _is_there() -> bool:
    try:
        Cipher(ARC4(bytes(16)), mode=None).encryptor()
    except UnsupportedAlgorithm:
        return False
    return True
