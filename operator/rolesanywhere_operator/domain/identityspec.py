"""``spec.identity`` of a binding, read into the type of its kind.

Holds what the schema's rules hold, for bindings that no API server has looked at. Never asks
whether a Secret, an issuer or a driver is there.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from rolesanywhere_operator.domain import certnames, tokenspec
from rolesanywhere_operator.domain.certnames import NameTooLong
from rolesanywhere_operator.domain.durations import InvalidDuration, seconds
from rolesanywhere_operator.domain.identities import (
    CERTIFICATE_FILE,
    PRIVATE_KEY_FILE,
    CertManagerIdentity,
    CsiIdentity,
    Identity,
    InvalidIdentity,
    IssuerRef,
    PerBindingIdentity,
    PerPodIdentity,
    PodCertificateIdentity,
    PrivateKey,
    SecretIdentity,
    WantedCertificate,
)
from rolesanywhere_operator.domain.untyped import items, mapping

IDENTITY_KINDS: Final = ("certManager", "secret", "csi", "podCertificate", "pkcs11")
MODES: Final = ("PerBinding", "PerPod")

# The sizes in bits that IAM Roles Anywhere takes signatures of, the default first.
KEY_SIZES: Final[Mapping[str, tuple[int, ...]]] = {
    "ECDSA": (256, 384, 521),
    "RSA": (2048, 3072, 4096),
}
# core/v1 PodCertificateProjection, but for ED25519, which IAM Roles Anywhere does not know.
POD_KEY_TYPES: Final = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521")
POD_EXPIRATION_SECONDS: Final = range(3600, 7_862_401)
# Of signers that Kubernetes itself runs (its validation of pods).
KUBERNETES_EXPIRATION_SECONDS: Final = range(3600, 86_401)

# What cert-manager issues for where it is told no duration, and the least it takes
# (cert-manager API reference, CertificateSpec).
_DEFAULT_DURATION: Final = "2160h"
_LEAST_DURATION: Final = "1h"
_LEAST_RENEW_BEFORE: Final = "5m"

_ISSUER: Final = ("name", "kind", "group")

_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^ ]+")
_KUBERNETES_SIGNER: Final = re.compile(r"(?:[^/]*\.)?kubernetes\.io/")

Json = Mapping[str, Any]


class Owner(NamedTuple):
    """Whose identity it is: what names are made of where the spec gives none."""

    namespace: str
    binding: str
    trust_domain: str


def parse(identity: Json, owner: Owner) -> Identity:
    """The identity that ``identity`` is. Raises `InvalidIdentity` with every mistake at once."""
    kinds = [kind for kind in IDENTITY_KINDS if identity.get(kind) is not None]
    if len(kinds) != 1:
        got = ", ".join(kinds) or "none"
        raise InvalidIdentity(
            f"spec.identity: got {got}, expected exactly one of {', '.join(IDENTITY_KINDS)}"
        )
    [kind] = kinds
    given = mapping(identity[kind])
    if kind == "certManager":
        return _cert_manager(given, owner)
    readers: Mapping[str, Callable[[Json], Identity]] = {
        "secret": _secret,
        "csi": _csi,
        "podCertificate": _pod_certificate,
        "pkcs11": tokenspec.parse,
    }
    return readers[kind](given)


def _secret(given: Json) -> SecretIdentity:
    _need(given, "secret", name="a Secret's name")
    return SecretIdentity(
        name=str(given["name"]),
        certificate_key=str(given.get("certificateKey") or CERTIFICATE_FILE),
        private_key_key=str(given.get("privateKeyKey") or PRIVATE_KEY_FILE),
    )


def _csi(given: Json) -> CsiIdentity:
    _need(given, "csi", driver="a CSI driver's name")
    attributes = mapping(given.get("volumeAttributes"))
    return CsiIdentity(
        driver=str(given["driver"]),
        volume_attributes={str(name): str(value) for name, value in attributes.items()},
        certificate_file=str(given.get("certificateFile") or CERTIFICATE_FILE),
        private_key_file=str(given.get("privateKeyFile") or PRIVATE_KEY_FILE),
    )


def _pod_certificate(given: Json) -> PodCertificateIdentity:
    _need(given, "podCertificate", signerName="a signer's name")
    key_type, longest = given.get("keyType"), given.get("maxExpirationSeconds")
    mistakes = []
    if key_type not in POD_KEY_TYPES:
        mistakes.append(
            f"spec.identity.podCertificate.keyType: got {key_type!r}, expected one of"
            f" {', '.join(POD_KEY_TYPES)}"
        )
    by_kubernetes = _KUBERNETES_SIGNER.match(str(given["signerName"]))
    allowed = KUBERNETES_EXPIRATION_SECONDS if by_kubernetes else POD_EXPIRATION_SECONDS
    if longest is not None and not _is_within(longest, allowed):
        mistakes.append(
            f"spec.identity.podCertificate.maxExpirationSeconds: got {longest!r}, expected"
            f" {allowed[0]} to {allowed[-1]} of signer {given['signerName']}"
        )
    if mistakes:
        raise InvalidIdentity(*mistakes)
    return PodCertificateIdentity(
        signer_name=str(given["signerName"]),
        key_type=str(key_type),
        max_expiration_seconds=longest,
    )


def _cert_manager(given: Json, owner: Owner) -> CertManagerIdentity:
    mode = given.get("mode") or MODES[0]
    issuer = mapping(given.get("issuerRef"))
    common_name = str(given["commonName"]) if given.get("commonName") else None
    dns_names = tuple(map(str, items(given.get("dnsNames"))))
    uris = tuple(map(str, items(given.get("uris"))))
    key = mapping(given.get("privateKey"))
    mistakes = [
        *_issuer_mistakes(issuer, mode),
        *_time_mistakes(given),
        *_key_mistakes(key),
        *_name_mistakes("commonName", [common_name] if common_name else [], mode, owner),
        *_name_mistakes("dnsNames", dns_names, mode, owner),
        *_name_mistakes("uris", uris, mode, owner),
    ]
    if mistakes:
        raise InvalidIdentity(*mistakes)
    per_pod = mode == "PerPod"
    default_uri = certnames.pod_uri if per_pod else certnames.binding_uri
    algorithm = str(key.get("algorithm") or "ECDSA")
    wanted = WantedCertificate(
        issuer=IssuerRef(**{part: str(issuer[part]) for part in _ISSUER if issuer.get(part)}),
        duration=given.get("duration") or None,
        renew_before=given.get("renewBefore") or None,
        private_key=PrivateKey(
            algorithm=algorithm, size=key.get("size") or KEY_SIZES[algorithm][0]
        ),
        common_name=common_name,
        dns_names=dns_names,
        uris=uris or (default_uri(owner.trust_domain, owner.namespace, owner.binding),),
    )
    if per_pod:
        return PerPodIdentity(wanted=wanted)
    try:
        return PerBindingIdentity(name=certnames.secret_name(owner.binding), wanted=wanted)
    except NameTooLong as wrong:
        raise InvalidIdentity(str(wrong)) from wrong


def _need(given: Json, kind: str, **expected: str) -> None:
    for name, what in expected.items():
        if not given.get(name):
            raise InvalidIdentity(f"spec.identity.{kind}.{name}: is missing, expected {what}")


def _issuer_mistakes(issuer: Json, mode: object) -> Iterator[str]:
    if not issuer.get("name"):
        yield "spec.identity.certManager.issuerRef.name: is missing, expected an issuer's name"
    if mode not in MODES:
        yield f"spec.identity.certManager.mode: got {mode!r}, expected {' or '.join(MODES)}"


def _time_mistakes(given: Json) -> Iterator[str]:
    lengths: dict[str, int] = {}
    leasts = {"duration": _LEAST_DURATION, "renewBefore": _LEAST_RENEW_BEFORE}
    for name, least in leasts.items():
        if (text := given.get(name)) in (None, ""):
            continue
        try:
            lengths[name] = seconds(str(text))
        except InvalidDuration as wrong:
            yield f"spec.identity.certManager.{name}: {wrong}"
            continue
        if lengths[name] < seconds(least):
            yield (
                f"spec.identity.certManager.{name}: got {text}, expected {least} or more, which is"
                " the least that cert-manager takes"
            )
    whole = lengths.get("duration", seconds(_DEFAULT_DURATION))
    if lengths.get("renewBefore", 0) >= whole:
        yield (
            f"spec.identity.certManager.renewBefore: got {given['renewBefore']} of"
            f" {given.get('duration') or _DEFAULT_DURATION}, expected less than the certificate's"
            " whole life"
        )


def _key_mistakes(key: Json) -> Iterator[str]:
    algorithm, size = key.get("algorithm") or "ECDSA", key.get("size")
    if algorithm not in tuple(KEY_SIZES):
        yield (
            f"spec.identity.certManager.privateKey.algorithm: got {algorithm!r}, expected"
            f" {' or '.join(KEY_SIZES)}"
        )
    elif size is not None and (size not in KEY_SIZES[algorithm] or isinstance(size, bool)):
        yield (
            f"spec.identity.certManager.privateKey.size: got {size!r}, expected one of"
            f" {', '.join(map(str, KEY_SIZES[algorithm]))} for {algorithm}"
        )


def _name_mistakes(field: str, names: Any, mode: object, owner: Owner) -> Iterator[str]:
    """What is wrong with the certificate's ``names``, which may be templates where pods differ."""
    longest = certnames.LENGTHS[field]
    for name in names:
        where = f"spec.identity.certManager.{field}: {name!r}"
        if problem := _template_mistake(name, mode):
            yield f"{where} {problem}"
        if field == "uris" and not _URI.fullmatch(name):
            yield f"{where} is not a URI, expected one such as spiffe://example.org/reports"
        shortest = certnames.shortest(name, namespace=owner.namespace)
        if len(shortest) > longest:
            yield (
                f"{where} has {len(shortest)} characters or more, expected {longest} at most;"
                " choose a shorter one, none is ever cut"
            )


def _template_mistake(name: str, mode: object) -> str | None:
    if mode != "PerPod":
        return "has a $, and only mode PerPod has names of a pod's own" if "$" in name else None
    if certnames.stray_dollar(name):
        return "has a $ that begins no ${NAME}"
    unknown = [found for found in certnames.variables(name) if found not in certnames.VARIABLES]
    if unknown:
        known = ", ".join(f"${{{one}}}" for one in certnames.VARIABLES)
        return f"has ${{{unknown[0]}}}, expected one of {known}"
    return "has a comma, which csi-driver takes for the end of a name" if "," in name else None


def _is_within(value: object, allowed: range) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in allowed
