"""Pods with every kind of identity, in a real API server: its own schema judges the volumes."""

import json
from typing import Any

import jsonpatch
import pytest

from rolesanywhere_operator.domain import bindings, identityvolumes, injection, selection
from rolesanywhere_operator.domain.decisions import Inject
from rolesanywhere_operator.domain.manifests import SIDECAR_USER
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import KubectlFailed
from tests.control_plane.teams import RESTRICTED, enforce
from tests.control_plane.test_crd import create, identity
from tests.operator.builders import DEFAULTS, a_container, a_pod, a_raw_binding

ISSUER = {"issuerRef": {"name": "ca"}}
KINDS: dict[str, dict[str, Any]] = {
    "secret": identity(secret={"name": "tls"}),
    "certManager for the binding": identity(certManager=ISSUER),
    "certManager for each pod": identity(
        certManager=ISSUER
        | {
            "mode": "PerPod",
            "duration": "24h",
            "renewBefore": "8h",
            "commonName": "${POD_NAME}",
            "dnsNames": ["${POD_NAME}.${POD_NAMESPACE}", "b"],
        }
    ),
    "csi": identity(csi={"driver": "csi.example.com"}),
    "csi with attributes": identity(
        csi={"driver": "csi.example.com", "volumeAttributes": {"a": "b"}, "privateKeyFile": "k"}
    ),
    "pkcs11, all in the token": identity(pkcs11={"uri": "pkcs11:token=node"}),
    "pkcs11 with a PIN and a certificate beside": identity(
        pkcs11={
            "uri": "pkcs11:token=node",
            "pinSecretRef": {"name": "pin", "key": "user"},
            "certificateSecretRef": {"name": "tls"},
        }
    ),
    "pkcs11 with a device": identity(
        pkcs11={
            "uri": "pkcs11:token=node",
            "pinSecretRef": {"name": "pin", "key": "user"},
            "device": {"resourceName": "example.com/tpm"},
            "runAsGroup": 2323,
            "env": [{"name": "TPM2_PKCS11_TCTI", "value": "device:/dev/tpmrm0"}],
        }
    ),
    "podCertificate": identity(podCertificate={"signerName": "a.b/c", "keyType": "ECDSAP384"}),
    "podCertificate with all of it": identity(
        podCertificate={"signerName": "a.b/c", "keyType": "RSA3072", "maxExpirationSeconds": 3600}
    ),
}
# What the pod has of the same kinds, and keeps.
OWN = [
    {"name": "own-tls", "secret": {"secretName": "tls", "defaultMode": 0o400}},
    {"name": "own-csi", "csi": {"driver": "csi.cert-manager.io", "readOnly": True}},
    {
        "name": "own-certificate",
        "projected": {
            "defaultMode": 0o400,
            "sources": [
                {
                    "podCertificate": {
                        "signerName": "a.b/d",
                        "keyType": "ED25519",
                        "credentialBundlePath": "bundle.pem",
                    }
                }
            ],
        },
    },
]


@pytest.fixture
def restricted(schema: ControlPlane, namespace: str) -> str:
    """A namespace that takes pods of Pod Security "restricted" alone."""
    enforce(schema, namespace, "restricted")
    return namespace


def made(schema: ControlPlane, namespace: str, pod: dict[str, Any]) -> Any:
    """``pod`` as the API server holds it; a field that it does not know is an error."""
    text = schema.kubectl(
        "create", "--filename=-", f"--namespace={namespace}", "--output=json", "--validate=strict",
        input=json.dumps(pod),
    )  # fmt: skip
    return json.loads(text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_restricted_pod_is_admitted_with_every_kind_of_identity(
    schema: ControlPlane, restricted: str, kind: str
) -> None:
    # As the API server holds it, defaults and all.
    raw = create(schema, restricted, a_raw_binding(**KINDS[kind]))
    binding = bindings.parse(raw)
    pod = a_pod(a_container(**RESTRICTED), volumes=OWN)
    decision = selection.decide(pod, restricted, {binding.name: binding})
    assert isinstance(decision, Inject)
    operations = injection.inject(pod, decision, defaults=DEFAULTS)

    held = made(schema, restricted, jsonpatch.apply_patch(pod, operations))
    volumes = {volume["name"]: volume for volume in held["spec"]["volumes"]}
    # Nothing dropped, nothing added, of ours or theirs.
    assert volumes["rolesanywhere-identity"] == {
        "name": "rolesanywhere-identity",
        **identityvolumes.source(binding.identity, group=SIDECAR_USER),
    }
    assert [volumes[own["name"]] for own in OWN] == OWN
    assert selection.decide(held, restricted, {binding.name: binding}) == decision
    assert injection.inject(held, decision, defaults=DEFAULTS) == []


def test_the_namespace_of_these_tests_is_restricted(schema: ControlPlane, restricted: str) -> None:
    with pytest.raises(KubectlFailed, match="violates PodSecurity"):
        made(schema, restricted, a_pod())
