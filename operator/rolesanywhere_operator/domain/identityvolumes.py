"""The volume that brings a binding's certificate and key into a pod, for each kind of identity.

Never holds a secret: a volume names where one is, and the node fetches it.
"""

from typing import Any

from rolesanywhere_operator.domain.identities import (
    CERTIFICATE_FILE,
    PIN_FILE,
    PRIVATE_KEY_FILE,
    CsiIdentity,
    Identity,
    PerBindingIdentity,
    PerPodIdentity,
    PodCertificateIdentity,
    SecretIdentity,
    SecretKey,
    TokenIdentity,
    WantedCertificate,
)

Json = dict[str, Any]


def source(identity: Identity, *, group: int) -> Json:
    """Where the volume comes from, such that ``group``, the sidecar's, can read it.

    Its files are called as the identity says.
    """
    match identity:
        case SecretIdentity(name=name, certificate_key=certificate, private_key_key=private_key):
            return _secret(name, certificate, private_key)
        case PerBindingIdentity(name=name):
            return _secret(name, CERTIFICATE_FILE, PRIVATE_KEY_FILE)
        case PerPodIdentity(driver=driver, wanted=wanted):
            return _csi(driver, _attributes(wanted, group))
        case CsiIdentity(driver=driver, volume_attributes=attributes):
            return _csi(driver, dict(attributes))
        case PodCertificateIdentity():
            return _pod_certificate(identity)
        case TokenIdentity(pin=pin, certificate=certificate):
            return _beside_a_token({PIN_FILE: pin, CERTIFICATE_FILE: certificate})


def _beside_a_token(files: dict[str, SecretKey | None]) -> Json:
    """What is not in the token, of one Secret or two; maybe nothing."""
    sources = [
        {"secret": {"name": one.name, "items": [{"key": one.key, "path": path}]}}
        for path, one in files.items()
        if one is not None
    ]
    if not sources:
        return {"emptyDir": {"medium": "Memory", "sizeLimit": "4Ki"}}
    # As with a Secret, only the mode lets our user read what belongs to root.
    return {"projected": {"defaultMode": 0o444, "sources": sources}}


def _secret(name: str, certificate_key: str, private_key_key: str) -> Json:
    return {
        "secret": {
            "secretName": name,
            # A Secret's files belong to root, and without an fsGroup, which is the pod's to set,
            # nothing but the mode lets our user read them. Nobody else mounts this volume.
            "defaultMode": 0o444,
            "items": [
                {"key": certificate_key, "path": CERTIFICATE_FILE},
                {"key": private_key_key, "path": PRIVATE_KEY_FILE},
            ],
        }
    }


def _csi(driver: str, attributes: dict[str, str]) -> Json:
    csi: Json = {"driver": driver, "readOnly": True}
    if attributes:
        csi["volumeAttributes"] = attributes
    return {"csi": csi}


def _attributes(wanted: WantedCertificate, group: int) -> dict[str, str]:
    """What cert-manager's csi-driver is asked for (its documentation, "Supported Volume
    Attributes"); lists are joined by commas.
    """
    attributes = {
        "issuer-name": wanted.issuer.name,
        "issuer-kind": wanted.issuer.kind,
        "issuer-group": wanted.issuer.group,
        "common-name": wanted.common_name,
        "dns-names": ",".join(wanted.dns_names),
        "uri-sans": ",".join(wanted.uris),
        "duration": wanted.duration,
        "renew-before": wanted.renew_before,
        "key-algorithm": wanted.private_key.algorithm,
        "key-size": str(wanted.private_key.size),
        # The default, PKCS#1, has no form for ECDSA.
        "key-encoding": "PKCS8",
        "key-usages": "digital signature,client auth",
        "certificate-file": CERTIFICATE_FILE,
        "privatekey-file": PRIVATE_KEY_FILE,
        # The files belong to root; the group may read them.
        "fs-group": str(group),
    }
    return {f"csi.cert-manager.io/{name}": text for name, text in attributes.items() if text}


def _pod_certificate(identity: PodCertificateIdentity) -> Json:
    projection: Json = {
        "signerName": identity.signer_name,
        "keyType": identity.key_type,
        "credentialBundlePath": identity.certificate_file,
    }
    if identity.max_expiration_seconds is not None:
        projection["maxExpirationSeconds"] = identity.max_expiration_seconds
    # As with a Secret, only the mode lets our user read what belongs to root.
    return {"projected": {"defaultMode": 0o444, "sources": [{"podCertificate": projection}]}}
