"""What a team is given of a token: its PIN, and certificates for a key that nobody sees."""

from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.hardware.tokens import Token, certified
from tests.hardware.workbench import Algorithm

KEY: Final[Algorithm] = "p256"
# The Secret of `pin`, as a binding names it.
PIN: Final[Mapping[str, str]] = {"name": "node-pin", "key": "pin"}

Manifest = dict[str, Any]


def pin(token: Token) -> Manifest:
    """A Secret with the PIN that opens ``token``."""
    return secret(PIN["name"], {PIN["key"]: token.pin})


def certificate(token: Token, name: str) -> Manifest:
    """A Secret with another certificate for the same key."""
    public = token.keys[KEY].certificate.public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    made = certified(token.root, der)
    return secret(name, {"tls.crt": made.public_bytes(Encoding.PEM).decode()})


def secret(name: str, content: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": dict(content),
    }
