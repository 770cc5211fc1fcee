"""The Certificate that cert-manager is asked for, and which Certificates are ours to change.

After cert-manager's API reference, cert-manager.io/v1. Never holds a key: cert-manager makes it and
puts it into a Secret, which the operator may not read.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from rolesanywhere_contract.names import API_VERSION, BINDING_LABEL, GROUP, KIND
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.domain.identities import PerBindingIdentity, WantedCertificate
from rolesanywhere_operator.domain.untyped import items, mapping

Json = dict[str, Any]

CERT_MANAGER_GROUP: Final = "cert-manager.io"
CERT_MANAGER_API_VERSION: Final = f"{CERT_MANAGER_GROUP}/v1"
# Who owns the fields that we set (server-side apply).
FIELD_MANAGER: Final = "rolesanywhere-controller"
# A digest of all that was asked for: a field that is no longer asked for leaves no other trace.
ASKED_ANNOTATION: Final = f"{GROUP}/asked"

# What Roles Anywhere needs of a certificate (user guide, "Signature verification").
_USAGES: Final = ("client auth", "digital signature")


def manifest(binding: Binding, identity: PerBindingIdentity, *, uid: str) -> Json:
    """The Certificate for ``binding``, whose ``metadata.uid`` is ``uid``, as it is to be applied.

    It goes with the binding, by its owner reference.
    """
    spec = _spec(identity.name, identity.wanted)
    return {
        "apiVersion": CERT_MANAGER_API_VERSION,
        "kind": "Certificate",
        "metadata": {
            "name": identity.name,
            "namespace": binding.namespace,
            "labels": {BINDING_LABEL: binding.name},
            "annotations": {ASKED_ANNOTATION: _digest(spec)},
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": KIND,
                    "name": binding.name,
                    "uid": uid,
                    "controller": True,
                    # True would take a permission on the binding's finalizers where the API
                    # server enforces it, and the binding need not wait for the Certificate.
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": spec,
    }


def owner(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """What controls the object ``found``; empty when nothing does."""
    references = items(mapping(found.get("metadata")).get("ownerReferences"))
    return next((one for one in map(mapping, references) if one.get("controller") is True), {})


def is_ours(found: Mapping[str, Any], *, uid: str) -> bool:
    """Whether the binding with ``uid`` may change the Certificate ``found``.

    One that lost its owner reference still is ours when we have applied it.
    """
    controller = owner(found)
    if controller:
        return controller.get("uid") == uid
    managers = items(mapping(found.get("metadata")).get("managedFields"))
    return any(
        one.get("manager") == FIELD_MANAGER and one.get("operation") == "Apply"
        for one in map(mapping, managers)
    )


def is_leftover(found: Mapping[str, Any], *, namespace: str, binding: str) -> bool:
    """Whether ``found`` is of a deleted binding of the same name, and about to be collected."""
    controller = owner(found)
    return (
        mapping(found.get("metadata")).get("namespace") == namespace
        and controller.get("apiVersion") == API_VERSION
        and controller.get("kind") == KIND
        and controller.get("name") == binding
    )


def is_as_asked(found: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Whether applying ``asked`` would change nothing about ``found``, which is ours.

    Fields of others, which ``asked`` does not name, are theirs.
    """
    held, wanted = mapping(found.get("metadata")), asked["metadata"]
    return (
        wanted["ownerReferences"][0]["uid"] == owner(found).get("uid")
        and _holds(held.get("labels"), wanted["labels"])
        and _holds(held.get("annotations"), wanted["annotations"])
        and _holds(found.get("spec"), asked["spec"])
    )


def _spec(name: str, wanted: WantedCertificate) -> Json:
    chosen = {
        "duration": wanted.duration,
        "renewBefore": wanted.renew_before,
        "commonName": wanted.common_name,
        "dnsNames": list(wanted.dns_names),
        "uris": list(wanted.uris),
    }
    return {
        "secretName": name,
        "issuerRef": {
            "name": wanted.issuer.name,
            "kind": wanted.issuer.kind,
            "group": wanted.issuer.group,
        },
        "privateKey": {
            "algorithm": wanted.private_key.algorithm,
            "size": wanted.private_key.size,
            # A stolen key is of no use after the next renewal. Sidecars read certificate and key
            # anew, as a pair.
            "rotationPolicy": "Always",
        },
        "usages": list(_USAGES),
        **{name: value for name, value in chosen.items() if value},
    }


def _digest(spec: Json) -> str:
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def _holds(found: object, asked: object) -> bool:
    """Whether ``found`` has all that ``asked`` has; lists are compared as a whole."""
    if isinstance(asked, Mapping):
        held = mapping(found)
        return all(name in held and _holds(held[name], value) for name, value in asked.items())
    return found == asked
