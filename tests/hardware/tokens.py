"""A token as a test sees it: where its module is, how it opens, and which keys it holds.

Knows no maker of tokens: `softhsm`, `tpm` and `p11kit` each give one of these.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_public_key,
    load_pem_private_key,
)

from tests.fakes.aws import utc_now
from tests.fakes.pki import LEAF, Authority, Template, issue, named
from tests.hardware.workbench import Algorithm

# Where a token that is switched off is written down, beside what it keeps.
DOCUMENT: Final = "token.json"

ALGORITHMS: Final[tuple[Algorithm, ...]] = ("rsa-2048", "rsa-3072", "p256", "p384")


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A private key that nobody sees, and the certificate that was issued for it."""

    label: str
    id: bytes
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """``env`` is what a process needs, to find it by ``module``."""

    label: str
    pin: str = field(repr=False)
    module: Path
    env: Mapping[str, str]
    root: Authority = field(repr=False)
    keys: Mapping[Algorithm, TokenKey]

    def uri(self, algorithm: Algorithm) -> str:
        """The certificate of that key, and by its id the key."""
        return f"pkcs11:token={quote(self.label)};id={encoded(self.keys[algorithm].id)}"


def written_down(token: Token) -> str:
    """``token`` as a document, so that others find what one has made."""
    return json.dumps({
        "label": token.label, "pin": token.pin, "module": str(token.module),
        "root": [token.root.certificate_pem.decode(), token.root.key_pem().decode()],
        "keys": {
            name: [key.label, key.id.hex(), key.pem.decode()] for name, key in token.keys.items()
        },
    })  # fmt: skip


def read_back(document: str, env: Mapping[str, str]) -> Token:
    """The token of a document, where ``env`` is what finds it now."""
    told = json.loads(document)
    certificate, key = (pem.encode() for pem in told["root"])
    signer = load_pem_private_key(key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return Token(
        label=told["label"], pin=told["pin"], module=Path(told["module"]), env=env,
        root=Authority(signer, x509.load_pem_x509_certificate(certificate)),
        keys={
            name: TokenKey(
                label, bytes.fromhex(identifier), x509.load_pem_x509_certificate(pem.encode())
            )
            for name, (label, identifier, pem) in told["keys"].items()
        },
    )  # fmt: skip


def encoded(identifier: bytes) -> str:
    """A CKA_ID as a URI has it (RFC 7512, section 2.3)."""
    return "".join(f"%{byte:02X}" for byte in identifier)


@dataclass(frozen=True, slots=True)
class PublicHalf:
    """Stands where an authority expects a key: all that it asks for is the public one."""

    der: bytes

    def public_key(self) -> Any:
        return load_der_public_key(self.der)


def certified(root: Authority, public: bytes, *, template: Template = LEAF) -> x509.Certificate:
    """A certificate by ``root`` for a public key (DER) whose private half is out of reach."""
    return issue(
        template, named("hardware"), PublicHalf(public),
        issuer=root.certificate.subject, signer=root.key, at=utc_now(),
    )  # fmt: skip


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder whose path is short enough for a socket, and which other users may enter."""
    folder = Path(mkdtemp(prefix="token-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
