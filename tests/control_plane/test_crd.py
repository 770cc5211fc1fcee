"""The binding's schema in a real API server: what it takes, what it refuses and in which words."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rolesanywhere_operator.domain import bindings
from rolesanywhere_operator.domain.identityspec import IDENTITY_KINDS, KEY_SIZES, POD_KEY_TYPES
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import KubectlFailed
from tests.operator.builders import ANCHOR, PROFILE, ROLE, a_raw_binding
from tests.operator.test_crd import SCHEMA, fields_of

ISSUER = {"issuerRef": {"name": "ca"}}
IDENTITIES = SCHEMA["properties"]["spec"]["properties"]["identity"]["properties"]
DOCUMENTED = (Path(__file__).parents[2] / "docs" / "identities.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", DOCUMENTED, re.DOTALL)
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


def cert_manager(**fields: Any) -> dict[str, Any]:
    return identity(certManager=ISSUER | fields)


def pod_certificate(**fields: Any) -> dict[str, Any]:
    return identity(podCertificate=POD_CERTIFICATE | fields)


def pkcs11(**fields: Any) -> dict[str, Any]:
    return identity(pkcs11=PKCS11 | fields)


def proxy(**fields: Any) -> dict[str, Any]:
    return {"sidecar": {"proxy": fields}}


def ca_bundle(**config_map: Any) -> dict[str, Any]:
    return {"sidecar": {"caBundle": {"configMap": config_map}}}


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
    "a proxy": proxy(url="http://proxy.corp.example:3128"),
    "a proxy at the last port": proxy(url="http://proxy-99999:65535/"),
    "a proxy by TLS, with all of it": proxy(
        url="https://[2001:db8::1]/",
        noProxy=["*", "vpce.example", ".corp.example", "*.a.example:443", "10.0.0.0/8", "fd00::/8"],
    ),
    "a proxy that asks for a password": proxy(
        urlSecretRef={"name": "proxy", "key": "url"}, noProxy=["192.0.2.1"]
    ),
    "no proxy and the usual authorities, whatever the operator has": {
        "sidecar": {"proxy": {}, "caBundle": {}}
    },
    "authorities": ca_bundle(name="corp.authorities"),
    "authorities by another key": ca_bundle(name="corp", key="ca-bundle.pem"),
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
    "a renewal within cert-manager's own choice": cert_manager(renewBefore="2159h59m59s"),
    "the shortest certificate": cert_manager(duration="1h", renewBefore="5m"),
    "the longest common name": cert_manager(commonName="c" * 64),
    "the longest DNS name": cert_manager(dnsNames=["d" * 253]),
    "the longest URI": cert_manager(uris=["urn:" + "u" * 252]),
    "names of a pod's own": cert_manager(
        mode="PerPod",
        commonName="${SERVICE_ACCOUNT_NAME}",
        dnsNames=["${POD_NAME}.${POD_NAMESPACE}.pod"],
        uris=["spiffe://example/${POD_NAMESPACE}/${POD_NAME}/${POD_UID}"],
    ),
    # With the 36 characters of a UID it has 64.
    "a common name that fits with a UID": cert_manager(
        mode="PerPod", commonName="c" * 26 + "-${POD_UID}-"
    ),
    "csi": identity(csi={"driver": "csi.cert-manager.io"}),
    "csi with all of it": identity(
        csi={
            "driver": "Secrets-Store.csi.k8s.io",
            "volumeAttributes": {"secretProviderClass": "workload"},
            "certificateFile": "both.pem",
            "privateKeyFile": "both.pem",
        }
    ),
    "podCertificate": identity(podCertificate=POD_CERTIFICATE),
    "the longest pod certificate": pod_certificate(maxExpirationSeconds=7862400),
    "the longest of a signer of Kubernetes": pod_certificate(
        signerName="pods.kubernetes.io/client", maxExpirationSeconds=86400
    ),
    "a signer that only sounds like one of Kubernetes": pod_certificate(
        signerName="my-kubernetes.io/client", maxExpirationSeconds=86401
    ),
    "pkcs11": identity(pkcs11=PKCS11 | {"device": {"resourceName": "example.com/tpm"}}),
    "pkcs11 with all of it": pkcs11(
        pinSecretRef={"name": "pin", "key": "user.pin"},
        certificateSecretRef={"name": "tls"},
        server={"socketDirectory": "/run/p11-kit", "socketName": "pkcs11"},
        runAsGroup=2323,
        hostPaths=["/etc/token", "/opt/vendor"],
        env=[{"name": "VENDOR_CONF", "value": "/etc/token/$(A).conf"}],
    ),
    "pkcs11 with a device and a store": pkcs11(
        device={"resourceName": "example.com/tpm"},
        hostPaths=["/var/lib/tpm2-pkcs11"],
        env=[{"name": "TPM2_PKCS11_STORE", "value": "/var/lib/tpm2-pkcs11"}],
    ),
    "the least of pkcs11": identity(pkcs11={"uri": "pkcs11:"}),
    "a URI with every kind of character": pkcs11(
        uri="pkcs11:token=a%20b;object=._~:[]@!$'()*+,=&-;id=%00%ff;type=private"
    ),
    **{
        f"a key of {algorithm} {size}": cert_manager(
            privateKey={"algorithm": algorithm} | ({"size": size} if size else {})
        )
        for algorithm, sizes in KEY_SIZES.items()
        for size in (None, *sizes)
    },
    **{
        f"a pod's key of {key_type}": pod_certificate(keyType=key_type)
        for key_type in POD_KEY_TYPES
    },
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
    "a key of no algorithm": (
        cert_manager(privateKey={"algorithm": "Ed25519"}),
        'Unsupported value: "Ed25519": supported values: "RSA", "ECDSA"',
    ),
    "a small key": (cert_manager(privateKey={"algorithm": "RSA", "size": 1024}), "got size 1024"),
    "a size that is not the default algorithm's": (
        cert_manager(privateKey={"size": 2048}),
        "got size 2048, expected 2048, 3072 or 4096 for RSA, 256, 384 or 521 for ECDSA",
    ),
    "a mode that is none": (cert_manager(mode="PerNode"), 'Unsupported value: "PerNode"'),
    "an issuer without a name": (
        identity(certManager={"issuerRef": {"kind": "ClusterIssuer"}}),
        "spec.identity.certManager.issuerRef.name: Required value",
    ),
    "a certificate shorter than cert-manager's": (
        cert_manager(duration="59m59s"),
        '"59m59s": expected 1h or more, which is the least that cert-manager takes',
    ),
    "a renewal later than cert-manager's": (
        cert_manager(renewBefore="4m59s"),
        '"4m59s": expected 5m or more, which is the least that cert-manager takes',
    ),
    "a renewal that is no duration": (
        cert_manager(duration="2h", renewBefore="1/3"),
        '"1/3": expected a duration such as 24h',
    ),
    "a renewal before the beginning": (
        cert_manager(duration="24h", renewBefore="1440m"),
        "spec.identity.certManager.renewBefore: Invalid value: got 1440m of 24h, expected less"
        " than the whole life of the certificate",
    ),
    "a renewal before cert-manager's own choice": (
        cert_manager(renewBefore="2160h"),
        "got 2160h of 2160h, expected less than the whole life of the certificate",
    ),
    "a common name that X.509 cannot hold": (
        cert_manager(commonName="c" * 65),
        "expected 64 characters at most; choose a shorter name, none is ever cut",
    ),
    "a common name that no pod can make fit": (
        cert_manager(mode="PerPod", commonName="c" * 27 + "-${POD_UID}-"),
        "expected 64 characters at most; choose a shorter name, none is ever cut",
    ),
    "a DNS name that is too long": (
        cert_manager(dnsNames=["d" * 254]),
        "expected 253 characters at most",
    ),
    "a URI that no session tag can hold": (
        cert_manager(uris=["urn:" + "u" * 253]),
        "expected 256 characters at most",
    ),
    "a URI without a scheme": (
        cert_manager(uris=["example/reports"]),
        '"example/reports": expected a URI such as spiffe://example.org/reports',
    ),
    **{
        f"a pod's own name for all pods, in {field}": (
            cert_manager(**{field: value}),
            "mode PerBinding has one certificate for all pods, expected names without $",
        )
        for field, value in (
            ("commonName", "${POD_NAME}"),
            ("dnsNames", ["a", "${POD_NAME}"]),
            ("uris", ["urn:${POD_NAME}"]),
        )
    },
    **{
        f"a name with {what}": (
            cert_manager(mode="PerPod", **{field: value}),
            "in which $ begins ${POD_NAME}, ${POD_NAMESPACE}, ${POD_UID} or"
            " ${SERVICE_ACCOUNT_NAME}",
        )
        for what, field, value in (
            ("an unknown variable", "commonName", "${NODE_NAME}"),
            ("a variable without braces", "dnsNames", ["$POD_NAME"]),
            ("a comma", "uris", ["urn:a,urn:b"]),
        )
    },
    "a driver that is none": (
        identity(csi={"driver": "csi/driver"}),
        '"csi/driver": expected the name of a CSI driver',
    ),
    "a key outside its volume": (
        identity(csi={"driver": "x", "privateKeyFile": "../tls.key"}),
        '"../tls.key": expected the name of a file in the volume',
    ),
    "a pod certificate that is too short": (
        pod_certificate(maxExpirationSeconds=3599),
        "should be greater than or equal to 3600",
    ),
    "a pod certificate that is too long": (
        pod_certificate(maxExpirationSeconds=7862401),
        "should be less than or equal to 7862400",
    ),
    **{
        f"what {host} does not sign": (
            pod_certificate(signerName=f"{host}/client", maxExpirationSeconds=86401),
            "signers of kubernetes.io give 86400 seconds at most, expected no more",
        )
        for host in ("kubernetes.io", "pods.kubernetes.io")
    },
    "a signer of a bare host": (
        pod_certificate(signerName="localhost/workloads"),
        '"localhost/workloads": expected a signer name, <domain>/<path>',
    ),
    "a signer with two paths": (
        pod_certificate(signerName="example.com/a/b"),
        '"example.com/a/b": expected a signer name',
    ),
    "a PIN in no Secret": (
        pkcs11(pinSecretRef={"name": "A_b", "key": "pin"}),
        '"A_b": expected the name of a Secret',
    ),
    "a PIN's key that is a path": (
        pkcs11(pinSecretRef={"name": "a", "key": "x/y"}),
        '"x/y": expected a key of a Secret',
    ),
    "a certificate in no Secret": (
        pkcs11(certificateSecretRef={"name": "A_b"}),
        '"A_b": expected the name of a Secret',
    ),
    "a certificate's key that is a path": (
        pkcs11(certificateSecretRef={"name": "a", "key": "x/y"}),
        '"x/y": expected a key of a Secret',
    ),
    "a socket somewhere": (
        pkcs11(server={"socketDirectory": "run/p11"}),
        '"run/p11": expected an absolute path',
    ),
    "a folder of the node outside": (
        pkcs11(hostPaths=["/etc/../root"]),
        '"/etc/../root": expected an absolute path',
    ),
    "a folder that is everything": (
        pkcs11(hostPaths=["/"]),
        '"/": expected an absolute path, without .., //',
    ),
    "two folders in one": (
        pkcs11(hostPaths=["/a,/b"]),
        '"/a,/b": expected an absolute path',
    ),
    "a folder and its end": (
        pkcs11(server={"socketDirectory": "/run/p11/"}),
        '"/run/p11/": expected an absolute path',
    ),
    "a socket in another folder": (
        pkcs11(server={"socketDirectory": "/run/p11", "socketName": "../x"}),
        '"../x": expected the name of a file',
    ),
    "a module that climbs": (
        pkcs11(modulePath="/opt/../x.so"),
        '"/opt/../x.so": expected an absolute path',
    ),
    "the dynamic linker's variable": (
        pkcs11(env=[{"name": "LD_PRELOAD", "value": "/x.so"}]),
        "the dynamic linker's and Python's variables would change the sidecar itself",
    ),
    "a variable of AWS's": (
        pkcs11(env=[{"name": "AWS_PROFILE", "value": "x"}]),
        "the sidecar keeps AWS's variables from modules",
    ),
    "Python's variable": (
        pkcs11(env=[{"name": "PYTHONPATH", "value": "/x"}]),
        "the dynamic linker's and Python's variables would change the sidecar itself",
    ),
    "a server's address twice": (
        pkcs11(
            server={"socketDirectory": "/run/p11"},
            env=[{"name": "P11_KIT_SERVER_ADDRESS", "value": "unix:path=/x"}],
        ),
        "P11_KIT_SERVER_ADDRESS is set by the operator where there is a server",
    ),
    "root's group": (pkcs11(runAsGroup=0), "should be greater than or equal to 1"),
    "a module in the URI": (
        pkcs11(uri="pkcs11:token=node?module-path=/x.so"),
        "the URI must not name a module, which is code; name its file in modulePath",
    ),
    "a PIN's file in the URI": (
        pkcs11(uri="pkcs11:token=node?pin-source=file:/pin"),
        "the URI must not hold a PIN",
    ),
    "a blank in the URI": (
        pkcs11(uri="pkcs11:token=my node"),
        "other characters are written as %XX",
    ),
    "a stray % in the URI": (
        pkcs11(uri="pkcs11:token=%2"),
        "other characters are written as %XX",
    ),
    "something after the URI's ?": (
        pkcs11(uri="pkcs11:token=node?x=y"),
        "other characters are written as %XX",
    ),
    "a variable that is none": (
        pkcs11(env=[{"name": "a-b", "value": "c"}]),
        '"a-b": expected the name of a variable',
    ),
    "a variable of the sidecar": (
        pkcs11(env=[{"name": "ROLESANYWHERE_ROLE_ARN", "value": "c"}]),
        "variables of the sidecar itself are set by the operator",
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
        "expected a PKCS#11 URI such as pkcs11:token=node;object=workload",
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
    "a proxy with a password": (
        proxy(url="http://svc:hunter2@proxy.example:3128"),
        "the URL must not hold a user or a password, for a secret does not belong into a binding,"
        " which others can read; put the URL into a Secret and name that in urlSecretRef",
    ),
    "a proxy of another kind": (
        proxy(url="socks5://proxy.example"),
        "spec.sidecar.proxy.url: Invalid value: expected the URL of an HTTP proxy,"
        " http://<host>[:<port>]",
    ),
    "a proxy at a port too high": (
        proxy(url="http://proxy.example:65536/"),
        "spec.sidecar.proxy.url: Invalid value: the port is too high, expected 65535 at most",
    ),
    "a proxy at no port": (proxy(url="http://proxy.example:0"), "expected the URL of an HTTP"),
    "a proxy without a scheme": (proxy(url="proxy.example:3128"), "expected the URL of an HTTP"),
    "a proxy with a path": (
        proxy(url="http://proxy.example/x"),
        "expected the URL of an HTTP",
    ),
    "a proxy with two URLs": (
        proxy(url="http://proxy.example", urlSecretRef={"name": "a", "key": "b"}),
        "expected url or urlSecretRef, got both; a proxy has one URL",
    ),
    "exceptions from no proxy": (
        proxy(noProxy=[".corp.example"]),
        "spec.sidecar.proxy.noProxy: Invalid value: exceptions from no proxy, expected url or"
        " urlSecretRef besides",
    ),
    "an exception that is a list": (
        proxy(url="http://proxy.example", noProxy=["a.example,b.example"]),
        '"a.example,b.example": expected a host, a domain such as .corp.example, an address, a'
        " network such as 10.0.0.0/8, or *",
    ),
    "an exception that is a URL": (
        proxy(url="http://proxy.example", noProxy=["https://a.example"]),
        "expected a host, a domain such as .corp.example",
    ),
    "a proxy in no Secret": (
        proxy(urlSecretRef={"name": "A_b", "key": "url"}),
        '"A_b": expected the name of a Secret',
    ),
    "a proxy's key that is a path": (
        proxy(urlSecretRef={"name": "a", "key": "b/c"}),
        '"b/c": expected a key of a Secret',
    ),
    "authorities in no ConfigMap": (
        ca_bundle(name="A_b"),
        "\"A_b\": expected the name of a ConfigMap, lower case letters, digits, '-' and '.'",
    ),
    "authorities' key that is a path": (
        ca_bundle(name="a", key="b/c"),
        "\"b/c\": expected a key of a ConfigMap, letters, digits, '-', '_' and '.'",
    ),
    "a log level that is none": ({"sidecar": {"logLevel": "loud"}}, 'Unsupported value: "loud"'),
    "a field nobody knows": ({"roleARN": ROLE}, 'unknown field "spec.roleARN"'),
}


@pytest.mark.parametrize("what", GOOD)
def test_a_good_binding_is_taken(schema: ControlPlane, what: str) -> None:
    create(schema, "default", a_raw_binding(**GOOD[what]), "--dry-run=server")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split()[1].strip(":"))
def test_every_example_of_the_documentation_is_taken(schema: ControlPlane, example: str) -> None:
    spec = yaml.safe_load(example)
    taken = create(schema, "default", a_raw_binding(**spec), "--dry-run=server")
    assert bindings.not_allowed(bindings.parse(taken)) is None


@pytest.fixture(scope="module")
def refusals(schema: ControlPlane) -> dict[str, str]:
    """What the API server says to each of the bad bindings; nothing to one that it takes."""
    return {what: _refusal(schema, spec) for what, (spec, _) in BAD.items()}


def _refusal(schema: ControlPlane, spec: dict[str, Any]) -> str:
    try:
        create(schema, "default", a_raw_binding(**spec), "--dry-run=server")
    except KubectlFailed as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize("what", BAD)
def test_a_bad_binding_is_refused_in_words(refusals: dict[str, str], what: str) -> None:
    assert BAD[what][1] in refusals[what]


def test_every_rule_has_refused_something(refusals: dict[str, str]) -> None:
    said = " ".join("\n".join(refusals.values()).split())
    silent = [path for path, rule in _rules() if not all(part in said for part in _spoken(rule))]
    # A name is no part of the table: it has a test of its own.
    assert silent == [""]


def _rules() -> Iterator[tuple[str, dict[str, str]]]:
    for path, field in [("", SCHEMA), *fields_of(SCHEMA, "")]:
        for rule in field.get("x-kubernetes-validations", ()):
            yield path, rule


def _spoken(rule: dict[str, str]) -> list[str]:
    """What a rule says, but for what it quotes of the binding."""
    if "messageExpression" not in rule:
        return [rule["message"]]
    literals = re.findall(r"""'([^']*)'|"([^"]*)\"""", rule["messageExpression"])
    texts = (part for both in literals for text in both for part in re.split(r"%[ds]", text))
    return [text for text in texts if len(text) > 12]


@pytest.mark.parametrize(
    ("what", "secret"),
    [("a PIN that all can read", "123456"), ("a proxy with a password", "hunter2")],
)
def test_a_secret_is_not_repeated_in_the_refusal(
    schema: ControlPlane, what: str, secret: str
) -> None:
    with pytest.raises(KubectlFailed) as caught:
        create(schema, "default", a_raw_binding(**BAD[what][0]))
    assert "is invalid" in str(caught.value)
    assert secret in json.dumps(BAD[what][0])
    assert secret not in str(caught.value)


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
    bundle = {"configMap": {"name": "corp"}}
    spec = create(schema, namespace, a_raw_binding(sidecar={"caBundle": bundle}))["spec"]
    assert (spec["durationSeconds"], spec["imds"]) == (3600, True)
    assert spec["allowSharedProcessNamespace"] is False
    assert spec["identity"]["secret"]["certificateKey"] == "tls.crt"
    assert spec["sidecar"].pop("caBundle") == {"configMap": {"name": "corp", "key": "ca.crt"}}
    # The level and the proxy are the operator's to choose, where a binding does not.
    assert spec["sidecar"] == {"port": 9911}


def test_defaults_of_a_certificate_are_the_documented_ones(
    schema: ControlPlane, namespace: str
) -> None:
    made = create(schema, namespace, a_raw_binding(**cert_manager(privateKey={})))
    assert made["spec"]["identity"]["certManager"] == {
        "issuerRef": {"name": "ca", "kind": "Issuer", "group": "cert-manager.io"},
        "mode": "PerBinding",
        "privateKey": {"algorithm": "ECDSA"},
    }


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


def test_no_proxy_is_another_word_than_no_word_on_one(schema: ControlPlane, namespace: str) -> None:
    nothing: dict[str, Any] = {"proxy": {}, "caBundle": {}}
    taken = create(schema, namespace, a_raw_binding(sidecar=nothing))
    assert nothing.items() <= taken["spec"]["sidecar"].items()
    assert bindings.parse(taken).sidecar_proxy is not None


def test_every_field_is_explained(schema: ControlPlane) -> None:
    explained = schema.kubectl("explain", "rab.spec.identity.pkcs11.pinSecretRef")
    assert "Where the PIN of the token's user is; absent" in explained
    for field in (
        "spec",
        "spec.podSelector",
        "spec.sidecar",
        "spec.sidecar.proxy",
        "spec.sidecar.caBundle",
        "status",
        "status.pods",
    ):
        assert "<no description>" not in schema.kubectl("explain", f"rab.{field}")


@pytest.mark.parametrize("kind", IDENTITY_KINDS)
def test_every_kind_of_identity_is_explained(schema: ControlPlane, kind: str) -> None:
    explained = schema.kubectl("explain", f"rab.spec.identity.{kind}")
    assert "<no description>" not in explained
    for field in IDENTITIES[kind]["properties"]:
        assert f"  {field}\t<" in explained
