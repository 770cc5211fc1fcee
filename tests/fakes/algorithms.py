"""The signing algorithms of IAM Roles Anywhere, as a verifier sees them: one line a word.

"RSA keys are used with the RSA PKCS#1 v1.5 signing algorithm. EC keys are used with the ECDSA."
The word says SHA-256 for every curve. ``AWS4-X509-MLDSA`` signs the string itself: pure ML-DSA
with an empty context (FIPS 204, section 5.2), whatever the size of the key.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256


@dataclass(frozen=True, slots=True)
class Algorithm:
    """``fits``: is this a key for it? ``check``: raises ``InvalidSignature`` or returns."""

    fits: Callable[[CertificatePublicKeyTypes], bool]
    check: Callable[[CertificatePublicKeyTypes, bytes, bytes], None]

    def verifies(self, key: CertificatePublicKeyTypes, signature: bytes, message: bytes) -> bool:
        """Did the owner of ``key`` sign ``message``?"""
        try:
            self.check(key, signature, message)
        except InvalidSignature:
            return False
        return True


def _check_rsa(key: CertificatePublicKeyTypes, signature: bytes, message: bytes) -> None:
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidSignature
    key.verify(signature, message, padding.PKCS1v15(), SHA256())


def _check_ecdsa(key: CertificatePublicKeyTypes, signature: bytes, message: bytes) -> None:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidSignature
    key.verify(signature, message, ec.ECDSA(SHA256()))


_MLDSA: Final = (mldsa.MLDSA44PublicKey, mldsa.MLDSA65PublicKey, mldsa.MLDSA87PublicKey)


def _check_mldsa(key: CertificatePublicKeyTypes, signature: bytes, message: bytes) -> None:
    if not isinstance(key, _MLDSA):
        raise InvalidSignature
    key.verify(signature, message, b"")


ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "AWS4-X509-RSA-SHA256": Algorithm(
        fits=lambda key: isinstance(key, rsa.RSAPublicKey), check=_check_rsa
    ),
    "AWS4-X509-ECDSA-SHA256": Algorithm(
        fits=lambda key: isinstance(key, ec.EllipticCurvePublicKey), check=_check_ecdsa
    ),
    "AWS4-X509-MLDSA": Algorithm(fits=lambda key: isinstance(key, _MLDSA), check=_check_mldsa),
}
