"""Whether a signature is what the service would accept from the owner of a public key.

For keys that are not ours to see: what they sign is looked at before it is believed.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, padding, rsa

from rolesanywhere_sidecar.identities.keys.memory import HASHES, Digest


def verifies(
    public_key: object, payload: bytes, signature: bytes, digest: Digest = Digest.SHA256
) -> bool:
    """Whether ``signature`` is one over ``payload`` by the owner of ``public_key``."""
    try:
        match public_key:
            case rsa.RSAPublicKey():
                public_key.verify(signature, payload, padding.PKCS1v15(), HASHES[digest])
            case ec.EllipticCurvePublicKey():
                public_key.verify(signature, payload, ec.ECDSA(HASHES[digest]))
            case mldsa.MLDSA44PublicKey() | mldsa.MLDSA65PublicKey() | mldsa.MLDSA87PublicKey():
                public_key.verify(signature, payload)
            case _:
                return False
    except InvalidSignature:
        return False
    return True
