"""The binding's schema in a real API server: what it takes, what it refuses and in which words."""

import json
from typing import Any

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import KubectlFailed
from tests.operator.builders import ANCHOR, PROFILE, ROLE, a_raw_binding

ISSUER = {"issuerRef": {"name": "ca"}}
EXISTS = {"key": "a", "operator": "Exists"}
PKCS11 = {"uri": "pkcs11:token=node;object=workload", "modulePath": "/usr/lib/p11.so"}
POD_CERTIFICATE = {"signerName": "example.com/workloads", "keyType": "ECDSAP256"}


def create(schema: ControlPlane, namespace: str, binding: dict[str, Any], *args: str) -> Any:
    """The binding as the API server took it."""
    del binding["metadata"]["generation"], binding["metadata"]["namespace"]
    text = schema.kubectl(
        "create", "--filename=-", f"--namespace={namespace}", "--output=json", *args,
        input=json.dumps(binding),
    )  # fmt: skip
    return json.loads(text)


def identity(**kinds: Any) -> dict[str, Any]:
    return {"identity": kinds}


GOOD: dict[str, dict[str, Any]] = {
    "the least": {},
    "everything": {
        "durationSeconds": 43200,
        "roleSessionName": "{namespace}.{pod}@{serviceAccount}",
        "region": "eu-central-1",
        "endpoint": "https://vpce-0a1b.example:8443/",
        "podSelector": {
            "matchLabels": {"app": "reports"},
            "matchExpressions": [
                {"key": "tier", "operator": "NotIn", "values": ["front"]},
                {"key": "batch", "operator": "Exists"},
            ],
        },
        "serviceAccountNames": ["reports"],
        "imds": False,
        "allowSharedProcessNamespace": True,
        "sidecar": {
            "image": "registry.example/sidecar:1",
            "port": 9000,
            "logLevel": "debug",
            "resources": {"limits": {"cpu": 1, "memory": "64Mi"}},
        },
    },
    "empty texts": {"region": "", "endpoint": "", "podSelector": {}, "serviceAccountNames": []},
    "an endpoint on loopback": {"endpoint": "http://127.0.0.1:8080"},
    "a role with a path": {"roleArn": "arn:aws:iam::111122223333:role/a/b:c/reports"},
    "China": {
        "trustAnchorArn": ANCHOR.replace("aws:", "aws-cn:").replace("eu-west-1", "cn-north-1"),
        "profileArn": PROFILE.replace("aws:", "aws-cn:").replace("eu-west-1", "cn-north-1"),
        "roleArn": ROLE.replace("aws:", "aws-cn:"),
    },
    "certManager": identity(
        certManager=ISSUER
        | {
            "duration": "24h",
            "renewBefore": "1h30m",
            "privateKey": {"algorithm": "RSA", "size": 3072},
            "uris": ["spiffe://example/ns/a/sa/b"],
        }
    ),
    "csi": identity(csi={"driver": "csi.cert-manager.io"}),
    "podCertificate": identity(podCertificate=POD_CERTIFICATE),
    "pkcs11": identity(pkcs11=PKCS11 | {"device": {"resourceName": "example.com/tpm"}}),
}

# What is wrong, and the words that the API server answers with.
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "anchor that is none": (
        {"trustAnchorArn": PROFILE},
        f'spec.trustAnchorArn: Invalid value: "{PROFILE}": expected the ARN of a trust anchor,'
        " arn:aws:rolesanywhere:<region>:<account>:trust-anchor/<uuid>",
    ),
    "profile that is none": (
        {"profileArn": "reports"},
        'spec.profileArn: Invalid value: "reports": expected the ARN of a profile,'
        " arn:aws:rolesanywhere:<region>:<account>:profile/<uuid>",
    ),
    "role that is none": (
        {"roleArn": "arn:aws:iam::111122223333:user/reports"},
        'spec.roleArn: Invalid value: "arn:aws:iam::111122223333:user/reports": expected the ARN of'
        " an IAM role, arn:aws:iam::<account>:role/<name>",
    ),
    "two regions": (
        {"profileArn": PROFILE.replace("eu-west-1", "eu-west-2")},
        "spec.profileArn: Invalid value: the profile's region is eu-west-2 but the trust anchor's"
        " is eu-west-1, expected both in one region",
    ),
    "two accounts": (
        {"profileArn": PROFILE.replace("111122223333", "444455556666")},
        "the profile's account is 444455556666 but the trust anchor's is 111122223333, expected"
        " both in one account",
    ),
    "two partitions": (
        {"profileArn": PROFILE.replace("aws:", "aws-cn:")},
        "the profile's partition is aws-cn but the trust anchor's is aws, expected both in one"
        " partition",
    ),
    "a role of another partition": (
        {"roleArn": ROLE.replace("aws:", "aws-us-gov:")},
        "spec.roleArn: Invalid value: the role's partition is aws-us-gov but the trust anchor's is"
        " aws, expected both in one partition",
    ),
    "too short": ({"durationSeconds": 899}, "should be greater than or equal to 900"),
    "too long": ({"durationSeconds": 43201}, "should be less than or equal to 43200"),
    "a session name of other words": (
        {"roleSessionName": "{node}"},
        '"{node}": '
        "expected 1 to 64 of A-Za-z0-9_+=,.@- and the words {namespace}, {pod},"
        " {serviceAccount}",
    ),
    "a region that is none": ({"region": "europe"}, '"europe": expected an AWS region name'),
    "an endpoint in the clear": (
        {"endpoint": "http://example.com"},
        '"http://example.com": expected https://<host>[:<port>]',
    ),
    "an endpoint with a path": ({"endpoint": "https://example.com/x"}, "expected https://<host>"),
    "In without values": (
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "operator In with 0 values: In and NotIn need values",
    ),
    "Exists with values": (
        {
            "podSelector": {
                "matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]
            }
        },
        "operator Exists with 1 values",
    ),
    "an operator that is none": (
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}},
        'Unsupported value: "Gt": supported values: "In"',
    ),
    "no identity": (identity(), "got 0 kinds of identity, expected exactly one of certManager"),
    "two identities": (
        identity(secret={"name": "a"}, csi={"driver": "b"}),
        "got 2 kinds of identity, expected exactly one of certManager",
    ),
    "a Secret's name that is none": (
        identity(secret={"name": "A_b"}),
        '"A_b": expected the name of a Secret',
    ),
    "a Secret's key that is a path": (
        identity(secret={"name": "a", "certificateKey": "x/y"}),
        '"x/y": expected a key of a Secret',
    ),
    "a file outside its volume": (
        identity(csi={"driver": "x", "certificateFile": ".."}),
        '"..": expected the name of a file in the volume',
    ),
    "a duration that is none": (
        identity(certManager=ISSUER | {"duration": "1d"}),
        '"1d": expected a duration such as 24h',
    ),
    "a key of no size": (
        identity(certManager=ISSUER | {"privateKey": {"algorithm": "ECDSA", "size": 2048}}),
        "got size 2048, expected 2048, 3072 or 4096 for RSA, 256, 384 or 521 for ECDSA",
    ),
    "a signer without a domain": (
        identity(podCertificate=POD_CERTIFICATE | {"signerName": "workloads"}),
        '"workloads": expected a signer name',
    ),
    "Ed25519": (
        identity(podCertificate=POD_CERTIFICATE | {"keyType": "ED25519"}),
        'Unsupported value: "ED25519"',
    ),
    "a PIN that all can read": (
        identity(pkcs11=PKCS11 | {"uri": "pkcs11:token=node?pin-value=123456"}),
        "the URI must not hold a PIN, which everyone who reads bindings could see",
    ),
    "a URI of something else": (
        identity(pkcs11=PKCS11 | {"uri": "file:/key"}),
        '"file:/key": expected a PKCS#11 URI',
    ),
    "a module by its name": (
        identity(pkcs11=PKCS11 | {"modulePath": "p11.so"}),
        '"p11.so": expected an absolute path',
    ),
    "two ways to a token": (
        identity(
            pkcs11=PKCS11
            | {"server": {"socketDirectory": "/run/p11"}, "device": {"resourceName": "a.b/c"}}
        ),
        "expected server or device, got both",
    ),
    "a device that is none": (
        identity(pkcs11=PKCS11 | {"device": {"resourceName": "tpm"}}),
        '"tpm": expected an extended resource',
    ),
    "the port of the probes": ({"sidecar": {"port": 9912}}, "9912 is the port of the sidecar's"),
    "a privileged port": ({"sidecar": {"port": 80}}, "should be greater than or equal to 1024"),
    "a log level that is none": ({"sidecar": {"logLevel": "loud"}}, 'Unsupported value: "loud"'),
    "a field nobody knows": ({"roleARN": ROLE}, 'unknown field "spec.roleARN"'),
}


@pytest.mark.parametrize("what", GOOD)
def test_a_good_binding_is_taken(schema: ControlPlane, what: str) -> None:
    create(schema, "default", a_raw_binding(**GOOD[what]), "--dry-run=server")


@pytest.mark.parametrize("what", BAD)
def test_a_bad_binding_is_refused_in_words(schema: ControlPlane, what: str) -> None:
    spec, words = BAD[what]
    with pytest.raises(KubectlFailed) as caught:
        create(schema, "default", a_raw_binding(**spec))
    assert words in str(caught.value)


def test_a_pin_is_not_repeated_in_the_refusal(schema: ControlPlane) -> None:
    spec = BAD["a PIN that all can read"][0]
    with pytest.raises(KubectlFailed) as caught:
        create(schema, "default", a_raw_binding(**spec))
    assert "is invalid" in str(caught.value)
    assert "123456" not in str(caught.value)


def test_a_name_that_no_label_could_hold_is_refused(schema: ControlPlane, namespace: str) -> None:
    secret = identity(secret={"name": "tls"})
    create(schema, namespace, a_raw_binding("n" * 63, **secret))
    with pytest.raises(KubectlFailed, match=r"has 64 characters, expected 63 at most because"):
        create(schema, namespace, a_raw_binding("n" * 64, **secret))


def test_a_rule_holds_for_changes_too(schema: ControlPlane, namespace: str) -> None:
    create(schema, namespace, a_raw_binding())
    with pytest.raises(KubectlFailed, match="expected both in one region"):
        schema.kubectl(
            "patch", "rab/reports", f"--namespace={namespace}", "--type=merge",
            f"--patch={json.dumps({'spec': {'profileArn': PROFILE.replace('west', 'east')}})}",
        )  # fmt: skip


def test_defaults_are_the_documented_ones(schema: ControlPlane, namespace: str) -> None:
    spec = create(schema, namespace, a_raw_binding(sidecar={}))["spec"]
    assert (spec["durationSeconds"], spec["imds"]) == (3600, True)
    assert spec["allowSharedProcessNamespace"] is False
    assert spec["identity"]["secret"]["certificateKey"] == "tls.crt"
    assert spec["sidecar"] == {"port": 9911, "logLevel": "info"}


def test_a_status_is_written_apart_and_shown_in_columns(
    schema: ControlPlane, namespace: str
) -> None:
    create(schema, namespace, a_raw_binding())
    status = {
        "observedGeneration": 1,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Ready",
                "message": "",
                "lastTransitionTime": "2030-01-01T00:00:00Z",
            }
        ],
        "identity": {"source": "secret/reports-tls", "notAfter": "2030-02-03T04:05:06Z"},
        "pods": {"injected": 3},
    }
    schema.kubectl(
        "patch", "rab/reports", f"--namespace={namespace}", "--subresource=status", "--type=merge",
        f"--patch={json.dumps({'status': status})}",
    )  # fmt: skip
    header, row = schema.kubectl("get", "aws", f"--namespace={namespace}").splitlines()
    assert header.split() == ["NAME", "ROLE", "IDENTITY", "READY", "PODS", "EXPIRES", "AGE"]
    assert row.split()[:6] == [
        "rolesanywherebinding.rolesanywhere.dev/reports", ROLE, "secret/reports-tls", "True", "3",
        "2030-02-03T04:05:06Z",
    ] or row.split()[:6] == [
        "reports", ROLE, "secret/reports-tls", "True", "3", "2030-02-03T04:05:06Z",
    ]  # fmt: skip


def test_every_field_is_explained(schema: ControlPlane) -> None:
    explained = schema.kubectl("explain", "rab.spec.identity.pkcs11.pinSecretRef")
    assert "Where the PIN of the token's user is." in explained
    for field in ("spec", "spec.identity", "spec.podSelector", "spec.sidecar", "status"):
        assert "<no description>" not in schema.kubectl("explain", f"rab.{field}")
