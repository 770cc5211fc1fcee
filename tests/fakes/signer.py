"""A second, plain signer for tests of the fakes, written from the documents step by step.

It shares no code with the fakes' verifiers nor with the product, and takes any part of a request
as an argument, so that a test can sign exactly what is wrong.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from urllib.parse import quote

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.fakes.pki import Identity, MldsaKey, PrivateKey
from tests.fakes.sessions import Issued
from tests.fakes.wire import WireRequest

_UNRESERVED: Final = "-_.~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A request to be signed: parameters are still plain text."""

    method: str = "POST"
    path: str = "/sessions"
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    unsigned: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encoded_query(self) -> str:
        pairs = sorted(
            (quote(k, _UNRESERVED), quote(v, _UNRESERVED)) for k, v in self.query.items()
        )
        return "&".join(f"{name}={value}" for name, value in pairs)

    def signed_names(self) -> str:
        return ";".join(sorted(name.lower() for name in self.headers))

    def canonical(self) -> str:
        lines = {name.lower(): " ".join(value.split()) for name, value in self.headers.items()}
        return "\n".join(
            [
                self.method,
                self.path,
                self.encoded_query(),
                *(f"{name}:{lines[name]}" for name in sorted(lines)),
                "",
                self.signed_names(),
                hashlib.sha256(self.body).hexdigest(),
            ]
        )

    def finished(self, authorization: str) -> WireRequest:
        query = self.encoded_query()
        headers = {**self.headers, **self.unsigned, "Authorization": authorization}
        target = f"{self.path}?{query}" if query else self.path
        return WireRequest(self.method, target, tuple(headers.items()), self.body)


def to_sign(algorithm: str, stamp: str, scope: str, draft: Draft) -> str:
    """The string to sign."""
    digest = hashlib.sha256(draft.canonical().encode()).hexdigest()
    return f"{algorithm}\n{stamp}\n{scope}\n{digest}"


def amz_date(at: datetime) -> str:
    return at.strftime("%Y%m%dT%H%M%SZ")


def with_certificate(
    draft: Draft,
    identity: Identity,
    *,
    at: datetime,
    region: str,
    host: str,
    key: PrivateKey | None = None,
    algorithm: str | None = None,
    serial: str | None = None,
    scope: str | None = None,
    leave_out: Sequence[str] = (),
) -> WireRequest:
    """``draft`` signed as IAM Roles Anywhere wants it; the rest overrides one fact each.

    ``leave_out`` names headers (lower case) that are sent but not signed.
    """
    key = key or identity.key
    stamp = amz_date(at)
    scope = scope or f"{stamp[:8]}/{region}/rolesanywhere/aws4_request"
    algorithm = algorithm or _word(key)
    headers = {"Host": host, "X-Amz-Date": stamp, "X-Amz-X509": _base64(identity.der)}
    if identity.chain:
        headers["X-Amz-X509-Chain"] = ",".join(
            _base64(each.public_bytes(Encoding.DER)) for each in identity.chain
        )
    headers |= draft.headers
    signed = {name: value for name, value in headers.items() if name.lower() not in leave_out}
    unsigned = {name: value for name, value in headers.items() if name not in signed}
    draft = replace(draft, headers=signed, unsigned={**draft.unsigned, **unsigned})
    signature = _sign(key, to_sign(algorithm, stamp, scope, draft).encode()).hex()
    return draft.finished(
        f"{algorithm} Credential={serial or identity.certificate.serial_number}/{scope}, "
        f"SignedHeaders={draft.signed_names()}, Signature={signature}"
    )


def with_secret(
    draft: Draft, issued: Issued, *, at: datetime, region: str, host: str, service: str = "sts"
) -> WireRequest:
    """``draft`` signed with temporary credentials (AWS4-HMAC-SHA256)."""
    stamp, algorithm = amz_date(at), "AWS4-HMAC-SHA256"
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    headers = {"Host": host, "X-Amz-Date": stamp, "X-Amz-Security-Token": issued.session_token}
    draft = replace(draft, headers={**headers, **draft.headers})
    key = f"AWS4{issued.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign(algorithm, stamp, scope, draft).encode(), "sha256").hex()
    return draft.finished(
        f"{algorithm} Credential={issued.access_key_id}/{scope}, "
        f"SignedHeaders={draft.signed_names()}, Signature={signature}"
    )


def _word(key: PrivateKey) -> str:
    if isinstance(key, MldsaKey):
        return "AWS4-X509-MLDSA"
    return f"AWS4-X509-{'RSA' if isinstance(key, rsa.RSAPrivateKey) else 'ECDSA'}-SHA256"


def _sign(key: PrivateKey, message: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, MldsaKey):
        return key.sign(message)
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
