"""SigV4 with an X.509 identity: what to sign for a CreateSession request, and how to send it.

The steps are those of "Create a session: signing" in the IAM Roles Anywhere user guide, and each
is a public checkpoint: canonical request, string to sign, signed request. Never holds a key, reads
a clock or opens a socket: the signature itself is somebody else's I/O.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from urllib.parse import quote

SERVICE: Final = "rolesanywhere"
PATH: Final = "/sessions"


class KeyKind(StrEnum):
    """What a private key is, as far as the service's signing algorithms care."""

    RSA = "RSA"
    ECDSA = "ECDSA"
    MLDSA = "MLDSA"


# Named by our own key. The hash that the issuer put on our certificate says nothing about it, and
# every curve signs SHA-256: P-384 and P-521 have no algorithm name of their own, nor have the
# three sizes of ML-DSA.
ALGORITHM: Final[Mapping[KeyKind, str]] = {
    KeyKind.RSA: "AWS4-X509-RSA-SHA256",
    KeyKind.ECDSA: "AWS4-X509-ECDSA-SHA256",
    KeyKind.MLDSA: "AWS4-X509-MLDSA",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A POST as it must go out, byte for byte: ``target`` is path and query, already encoded."""

    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A request that lacks its signature over ``payload``, and nothing else."""

    query: str
    headers: Mapping[str, str]
    body: bytes
    algorithm: str
    credential: str
    canonical_request: str
    string_to_sign: str

    @property
    def payload(self) -> bytes:
        """What the private key signs. Hashing it, with SHA-256 or as ML-DSA does, is its part."""
        return self.string_to_sign.encode()

    def signed_with(self, signature: bytes) -> SignedRequest:
        """The request to send. ``signature`` is as `keys.SigningKey.sign` gives it."""
        authorization = (
            f"{self.algorithm} Credential={self.credential}, "
            f"SignedHeaders={_names(self.headers)}, Signature={signature.hex()}"
        )
        return SignedRequest(
            target=f"{PATH}?{self.query}",
            headers={**self.headers, "authorization": authorization},
            body=self.body,
        )


def draft_request(
    *,
    host: str,
    query: Mapping[str, str],
    body: bytes,
    certificate: bytes,
    chain: Sequence[bytes],
    serial: int,
    key_kind: KeyKind,
    region: str,
    invocation_id: str,
    at: datetime,
) -> Draft:
    """What to sign so that ``certificate`` (DER) asks for a session at the aware time ``at``.

    ``host`` is the Host header that will be sent; ``chain`` has intermediates only, DER, in
    order. Every header of the draft is signed, as AWS's own client does.
    """
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/{SERVICE}/aws4_request"
    headers = {
        # One invocation is one attempt: who retries asks anew, with a fresh date and identity.
        "amz-sdk-invocation-id": invocation_id,
        "amz-sdk-request": "attempt=1; max=1",
        "content-type": "application/json",
        "host": host,
        "x-amz-date": stamp,
        "x-amz-x509": _base64(certificate),
    }
    if chain:
        headers["x-amz-x509-chain"] = ",".join(map(_base64, chain))
    encoded = canonical_query(query)
    canonical = canonical_request(query=encoded, headers=headers, body=body)
    algorithm = ALGORITHM[key_kind]
    return Draft(
        query=encoded,
        headers=headers,
        body=body,
        algorithm=algorithm,
        # Decimal and without leading zeros, although certificates are usually shown in hex.
        credential=f"{serial}/{scope}",
        canonical_request=canonical,
        string_to_sign="\n".join((algorithm, stamp, scope, _sha256(canonical.encode()))),
    )


def canonical_query(query: Mapping[str, str]) -> str:
    """Sorted and percent-encoded but for RFC 3986 unreserved characters, so ``:`` is ``%3A``."""
    return "&".join(
        f"{quote(name, safe='')}={quote(query[name], safe='')}" for name in sorted(query)
    )


def canonical_request(*, query: str, headers: Mapping[str, str], body: bytes) -> str:
    """The text whose hash is signed: method, path, query, headers, their names, the body's hash."""
    lines = (f"{name}:{re.sub(' +', ' ', headers[name].strip())}" for name in sorted(headers))
    return "\n".join(("POST", PATH, query, *lines, "", _names(headers), _sha256(body)))


def _names(headers: Mapping[str, str]) -> str:
    return ";".join(sorted(headers))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _base64(der: bytes) -> str:
    return base64.b64encode(der).decode()
