"""The certificates that cert-manager has had issued, read from the requests for them.

A CertificateRequest is public: it holds what was issued, and no key. So a serial number is known
without a look into a Secret. Asked once for each certificate. Never fails a look at a binding: who
does not know a serial number does without.
"""

import base64
import binascii
import logging
import warnings
from collections.abc import Mapping
from typing import Any, Final, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from rolesanywhere_operator.controller.rounds import Key
from rolesanywhere_operator.domain import certificates
from rolesanywhere_operator.domain.certificates import CERT_MANAGER_API_VERSION
from rolesanywhere_operator.domain.issuance import Issuance, Leaf, Obstacle
from rolesanywhere_operator.domain.untyped import mapping
from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import KubeError, NotFound

log = logging.getLogger(__name__)


class Client(Protocol):
    """What is needed of the API client."""

    async def get(self, path: str, *, query: Mapping[str, str] | None = None) -> Json:
        """GET ``path``. Raises `KubeError`."""
        ...


class Requests:
    """What was issued for each binding, as far as it was asked for."""

    def __init__(self, kube: Client) -> None:
        self._kube = kube
        # The uid and the revision of its Certificate, and what was found of it.
        self._known: dict[Key, tuple[object, object, Leaf | None]] = {}

    async def leaf(self, key: Key, issued: Issuance | None) -> Leaf | None:
        """The certificate of binding ``key`` that ``issued`` tells of, if it can be known."""
        if issued is None or isinstance(issued, Obstacle):
            self.forget(key)
            return None
        metadata = mapping(issued.get("metadata"))
        revision = mapping(issued.get("status")).get("revision")
        if not isinstance(revision, int):
            return None
        known = self._known.get(key)
        if known is not None and known[:2] == (metadata.get("uid"), revision):
            return known[2]
        try:
            found = await self._asked(metadata, revision)
        except KubeError as problem:
            where = {"namespace": key[0], "binding": key[1], "code": problem.code}
            log.warning("cannot see what was issued", extra={**where, "problem": str(problem)})
            return None
        self._known[key] = (metadata.get("uid"), revision, found)
        return found

    def forget(self, key: Key) -> None:
        """Binding ``key`` is gone, or has no certificate any more."""
        self._known.pop(key, None)

    async def _asked(self, certificate: Mapping[str, Any], revision: int) -> Leaf | None:
        # So it is called since cert-manager 1.13 (its feature gate StableCertificateRequestName).
        namespace, name = certificate["namespace"], f"{certificate['name']}-{revision}"
        where = f"namespaces/{namespace}/certificaterequests/{name}"
        try:
            request = await self._kube.get(f"/apis/{CERT_MANAGER_API_VERSION}/{where}")
        except NotFound:
            return None
        if certificates.owner(request).get("uid") != certificate["uid"]:
            return None
        return read(str(mapping(request.get("status")).get("certificate") or ""))


def read(encoded: str) -> Leaf | None:
    """The first certificate of a chain, PEM within base64; None when it cannot be read."""
    try:
        with warnings.catch_warnings():
            # Of what it dislikes about a certificate the library would write to standard error.
            warnings.simplefilter("ignore")
            leaf = x509.load_pem_x509_certificate(base64.b64decode(encoded, validate=True))
            return Leaf(
                subject=leaf.subject.rfc4514_string(),
                serial_number=str(leaf.serial_number),
                not_after=leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
                algorithm=_algorithm(leaf),
            )
    except (binascii.Error, ValueError):
        return None


def _algorithm(leaf: x509.Certificate) -> str:
    try:
        key: Any = leaf.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return ""
    kinds: Final = {rsa.RSAPublicKey: "RSA", ec.EllipticCurvePublicKey: "ECDSA"}
    return next((name for kind, name in kinds.items() if isinstance(key, kind)), "")
