"""A token as a test sees it: where its module is, how it opens, and which keys it holds.

Knows no maker of tokens: `softhsm`, `tpm` and `p11kit` each give one of these.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from tests.fakes.aws import utc_now
from tests.fakes.pki import LEAF, Authority, Template, issue, named
from tests.hardware.workbench import Algorithm

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
