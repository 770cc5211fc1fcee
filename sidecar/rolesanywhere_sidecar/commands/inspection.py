"""``read-certificate-data`` and ``sign-string``: what is in the identity's files, and does it work.

Both print what AWS's credential helper prints, byte for byte; but of a folder, which it does not
read, and of tokens, a list for people and for jq. Neither asks AWS, nor needs to know what is to be
assumed.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rolesanywhere_contract import pkcs11uri
from rolesanywhere_contract.certselector import CertSelector
from rolesanywhere_contract.settings import IdentitySettings
from rolesanywhere_sidecar import running
from rolesanywhere_sidecar.commands import terminal
from rolesanywhere_sidecar.documents import timestamp
from rolesanywhere_sidecar.identities import sources
from rolesanywhere_sidecar.identities.certificates import (
    InvalidIdentity,
    PublicKey,
    read_certificates,
)
from rolesanywhere_sidecar.identities.identity_files import IdentityFiles
from rolesanywhere_sidecar.identities.keys import Digest, FileKey
from rolesanywhere_sidecar.identities.keys.mldsa import MldsaKey
from rolesanywhere_sidecar.identities.names import fits, go_string

if TYPE_CHECKING:
    from rolesanywhere_sidecar.identities.pkcs11.hardwarekey import HardwareKey
    from rolesanywhere_sidecar.identities.pkcs11.listing import Listed

_HASHES: Final = ("SHA256", "SHA384", "SHA512")

# The helper's; it signs nothing else, so that nobody can have a request signed by this command.
_TEST: Final = b"AWS Roles Anywhere Credential Helper Signing Test"
_TEST_VERSION: Final = b"1"

_MLDSA: Final[Mapping[type, str]] = {
    mldsa.MLDSA44PublicKey: "ML-DSA-44",
    mldsa.MLDSA65PublicKey: "ML-DSA-65",
    mldsa.MLDSA87PublicKey: "ML-DSA-87",
}


def read_certificate_data(settings: IdentitySettings) -> int:
    """Print the certificate, or a list of all in a folder or in tokens; the exit code."""

    def work() -> bytes:
        if pkcs11uri.is_one(settings.certificate):
            return _in_tokens(settings)
        found = _found(settings)
        if Path(settings.certificate).is_dir():
            return _listed(found)
        if not found:
            raise InvalidIdentity(
                f"{settings.certificate} holds no certificate that the cert selector fits",
                hint="leave out --cert-selector to see what it holds",
            )
        return _compact(document(found[0]))

    return terminal.run(work, what="certificate data")


def sign_string(settings: IdentitySettings, options: Mapping[str, str]) -> int:
    """Print the signature of the fixed text; the exit code."""

    def work() -> bytes:
        with closing(sources.source(settings, env=os.environ)) as source:
            signature = running.run(_signature(source.open_key(), Digest(options["digest"])))
        return shown(signature, options["format"])

    return terminal.run(work, what="signature")


def document(certificate: x509.Certificate) -> dict[str, object]:
    """What the helper tells of a certificate; the serial number is in decimal."""
    kind = _kind(certificate)
    plain = kind not in _MLDSA.values()
    return {
        "keyType": kind,
        "certificateData": base64.b64encode(certificate.public_bytes(Encoding.DER)).decode(),
        "serialNumber": str(certificate.serial_number),
        "supportedAlgorithms": [f"{kind}{name}" for name in _HASHES] if plain else [kind],
    }


def fixed_text(public_key: PublicKey) -> bytes:
    """What sign-string signs: a constant, and which key it is for; of ML-DSA the constant."""
    if isinstance(public_key, rsa.RSAPublicKey):
        encoded = public_key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        encoded = public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    else:
        return _TEST + _TEST_VERSION
    return _TEST + _TEST_VERSION + hashlib.sha256(b"IAM RA" + encoded).digest()


def shown(signature: bytes, form: str) -> bytes:
    """``signature`` as json (a quoted string), text (hexadecimal) or bin."""
    match form:
        case "bin":
            return signature
        case "text":
            return signature.hex().encode()
        case _:
            return _compact(signature.hex())


async def _signature(key: "FileKey | HardwareKey", digest: Digest) -> bytes:
    text = fixed_text(key.public_key)
    # ML-DSA has no digest to choose: it hashes as its standard says (FIPS 204).
    return await (key.sign(text) if isinstance(key, MldsaKey) else key.sign(text, digest))


def _found(settings: IdentitySettings) -> list[x509.Certificate]:
    """The certificates that are there, or those selected; of a file the leaf is the first."""
    files = IdentityFiles.of(settings)
    found = list(dict.fromkeys(files.collect().certificates))
    if (selector := files.wanted()) is not None:
        found = [each for each in found if fits(selector, each)]
    if files.latest:
        found = sorted(found, key=lambda each: each.not_valid_after_utc)[-1:]
    return found


def _in_tokens(settings: IdentitySettings) -> bytes:
    """Each certificate with what names it, also where it cannot be read itself."""
    with closing(sources.source(settings, env=os.environ)) as source:
        selector = source.wanted()
        listed = [] if isinstance(source, IdentityFiles) else source.listing()
    documents = list(holdings(listed, selector, latest=settings.use_latest_expiring_certificate))
    return json.dumps(documents, indent=2).encode()


def holdings(
    listed: Iterable["Listed"], selector: CertSelector | None, *, latest: bool
) -> Iterator[dict[str, object]]:
    """What is told of each certificate in tokens that ``selector`` fits, or of the ``latest``.

    ``privateKey`` is null where ``privateKeyUnseen`` says why nobody knows.
    """
    found = [(each, _readable(each)) for each in listed]
    if selector is not None:
        found = [(each, held) for each, held in found if held and fits(selector, held)]
    if latest:
        ends = [(held.not_valid_after_utc, each, held) for each, held in found if held]
        found = [(each, held) for _, each, held in sorted(ends, key=itemgetter(0))[-1:]]
    return (_held(each, held) for each, held in found)


def _readable(listed: "Listed") -> x509.Certificate | None:
    try:
        return read_certificates(listed.certificate.der, where="the token")[0]
    except InvalidIdentity:
        return None


def _held(listed: "Listed", certificate: x509.Certificate | None) -> dict[str, object]:
    named: dict[str, object] = {
        "uri": str(listed.certificate.uri),
        "slot": listed.certificate.token.slot.slot_id,
        "privateKey": listed.has_key,
    }
    if listed.has_key is None:
        named["privateKeyUnseen"] = listed.unseen
    if certificate is None:
        return {**named, "problem": "the certificate cannot be read"}
    return {
        **named,
        "subject": go_string(certificate.subject),
        "issuer": go_string(certificate.issuer),
        "notAfter": timestamp(certificate.not_valid_after_utc),
        **document(certificate),
    }


def _listed(certificates: list[x509.Certificate]) -> bytes:
    """Each with its subject, in the spelling that a cert selector takes."""
    documents = [{"subject": go_string(each.subject), **document(each)} for each in certificates]
    return json.dumps(documents, indent=2).encode()


def _kind(certificate: x509.Certificate) -> str:
    """Empty for a kind that cannot be ours."""
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return ""
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "EC"
    return next((name for kind, name in _MLDSA.items() if isinstance(key, kind)), "")


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
