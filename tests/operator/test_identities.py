"""``spec.identity``: what each kind is read into, where its files are, what is refused."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_operator.domain import bindings, certnames, durations
from rolesanywhere_operator.domain.bindings import InvalidBinding
from rolesanywhere_operator.domain.certnames import NameTooLong
from rolesanywhere_operator.domain.durations import InvalidDuration
from rolesanywhere_operator.domain.identities import (
    CsiIdentity,
    Identity,
    IssuerRef,
    PerBindingIdentity,
    PerPodIdentity,
    PodCertificateIdentity,
    PrivateKey,
    SecretIdentity,
    WantedCertificate,
)
from rolesanywhere_operator.domain.identityspec import (
    IDENTITY_KINDS,
    KEY_SIZES,
    MODES,
    POD_EXPIRATION_SECONDS,
    POD_KEY_TYPES,
)
from tests.control_plane.test_crd import BAD, DOCUMENTED, EXAMPLES, GOOD
from tests.operator.builders import a_binding, a_raw_binding
from tests.operator.test_crd import SPEC

ISSUER = {"issuerRef": {"name": "ca"}}
PCA = {"name": "pca", "kind": "AWSPCAClusterIssuer", "group": "awspca.cert-manager.io"}
FOLDER = "/var/run/secrets/rolesanywhere-identity"
URI = "spiffe://cluster.local/ns/team-a/rolesanywherebinding/reports"


def identity_of(**kind: Any) -> Identity:
    return a_binding(identity=kind).identity


def test_the_least_of_a_certificate_for_all_pods() -> None:
    assert identity_of(certManager=ISSUER) == PerBindingIdentity(
        name="rolesanywhere-reports",
        wanted=WantedCertificate(
            issuer=IssuerRef(name="ca", kind="Issuer", group="cert-manager.io"),
            private_key=PrivateKey(algorithm="ECDSA", size=256),
            uris=(URI,),
        ),
    )


def test_all_of_a_certificate_for_each_pod() -> None:
    given = {
        "issuerRef": PCA,
        "mode": "PerPod",
        "duration": "2h",
        "renewBefore": "40m",
        "privateKey": {"algorithm": "RSA"},
        "commonName": "${POD_NAME}",
        "dnsNames": ["${POD_NAME}.${POD_NAMESPACE}"],
        "uris": ["spiffe://example.org/${POD_UID}", "urn:b"],
    }
    assert identity_of(certManager=given) == PerPodIdentity(
        wanted=WantedCertificate(
            issuer=IssuerRef(**PCA),
            duration="2h",
            renew_before="40m",
            private_key=PrivateKey(algorithm="RSA", size=2048),
            common_name="${POD_NAME}",
            dns_names=("${POD_NAME}.${POD_NAMESPACE}",),
            uris=("spiffe://example.org/${POD_UID}", "urn:b"),
        )
    )


def test_a_pod_has_its_name_in_its_uri_by_default() -> None:
    identity = identity_of(certManager=ISSUER | {"mode": "PerPod", "uris": []})
    assert isinstance(identity, PerPodIdentity)
    assert identity.wanted.uris == (URI + "/pod/${POD_NAME}",)


KINDS = [
    ({"secret": {"name": "tls"}}, SecretIdentity, "secret/tls", "tls.crt", "tls.key"),
    (
        {"certManager": ISSUER},
        PerBindingIdentity,
        "certificate/rolesanywhere-reports",
        "tls.crt",
        "tls.key",
    ),
    (
        {"certManager": ISSUER | {"mode": "PerPod"}},
        PerPodIdentity,
        "csi/csi.cert-manager.io",
        "tls.crt",
        "tls.key",
    ),
    ({"csi": {"driver": "a.b"}}, CsiIdentity, "csi/a.b", "tls.crt", "tls.key"),
    (
        {"csi": {"driver": "a.b", "certificateFile": "svid.pem", "privateKeyFile": "svid_key.pem"}},
        CsiIdentity,
        "csi/a.b",
        "svid.pem",
        "svid_key.pem",
    ),
    (
        {"podCertificate": {"signerName": "a.b/c", "keyType": "ECDSAP256"}},
        PodCertificateIdentity,
        "podCertificate/a.b/c",
        "credentials.pem",
        "credentials.pem",
    ),
]


@pytest.mark.parametrize(("given", "kind", "source", "certificate", "private_key"), KINDS)
def test_the_sidecar_is_told_where_the_files_of_each_kind_are(
    given: dict[str, Any], kind: type, source: str, certificate: str, private_key: str
) -> None:
    binding = a_binding(identity=given)
    assert isinstance(binding.identity, kind)
    assert str(binding.identity) == source
    assert binding.settings.certificate == f"{FOLDER}/{certificate}"
    assert binding.settings.private_key == f"{FOLDER}/{private_key}"
    assert bindings.not_allowed(binding) is None


def test_every_mistake_in_a_certificate_is_named_at_once() -> None:
    given = {
        "mode": "PerNode",
        "duration": "1d",
        "renewBefore": "1s",
        "privateKey": {"algorithm": "Ed25519"},
        "commonName": "c" * 65,
        "uris": ["reports"],
    }
    with pytest.raises(InvalidBinding) as caught:
        a_binding(identity={"certManager": given})
    for field in ("issuerRef.name", "mode", "duration", "renewBefore", "privateKey.algorithm",
                  "commonName", "uris"):  # fmt: skip
        assert f"spec.identity.certManager.{field}: " in str(caught.value)
    assert len(caught.value.mistakes) == 7


def of_kinds(table: dict[str, Any], *kinds: str) -> list[str]:
    return [
        what
        for what, case in table.items()
        for spec in [case[0] if isinstance(case, tuple) else case]
        if {*spec.get("identity", {})} & {*kinds}
    ]


@pytest.mark.parametrize("what", of_kinds(GOOD, "certManager", "csi", "podCertificate"))
def test_what_the_schema_takes_makes_sense(what: str) -> None:
    bindings.parse(a_raw_binding(**GOOD[what]))


@pytest.mark.parametrize("what", of_kinds(BAD, "certManager"))
def test_what_the_schema_refuses_of_a_certificate_is_refused_without_it(what: str) -> None:
    with pytest.raises(InvalidBinding, match=r"spec\.identity\.certManager\."):
        bindings.parse(a_raw_binding(**BAD[what][0]))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"keyType": "ED25519"}, "keyType: got 'ED25519', expected one of RSA3072, RSA4096"),
        ({"maxExpirationSeconds": 3599}, "got 3599, expected 3600 to 7862400 of signer a.b/c"),
        ({"maxExpirationSeconds": True}, "got True, expected 3600 to 7862400"),
        (
            {"maxExpirationSeconds": 86401, "signerName": "x.kubernetes.io/c"},
            "got 86401, expected 3600 to 86400 of signer x.kubernetes.io/c",
        ),
        ({"signerName": ""}, "signerName: is missing, expected a signer's name"),
    ],
)
def test_what_kubernetes_would_refuse_of_a_pod_is_refused_before(
    fields: dict[str, Any], words: str
) -> None:
    given = {"signerName": "a.b/c", "keyType": "ECDSAP256"} | fields
    with pytest.raises(InvalidBinding) as caught:
        a_binding(identity={"podCertificate": given})
    assert words in str(caught.value)


def test_schema_and_reader_agree_on_what_there_is() -> None:
    kinds = SPEC["identity"]["properties"]
    wanted, pod = kinds["certManager"]["properties"], kinds["podCertificate"]["properties"]
    assert tuple(wanted["mode"]["enum"]) == MODES
    assert set(wanted["privateKey"]["properties"]["algorithm"]["enum"]) == KEY_SIZES.keys()
    assert tuple(pod["keyType"]["enum"]) == POD_KEY_TYPES
    seconds = pod["maxExpirationSeconds"]
    assert range(seconds["minimum"], seconds["maximum"] + 1) == POD_EXPIRATION_SECONDS
    issuer = {
        name: field.get("default") for name, field in wanted["issuerRef"]["properties"].items()
    }
    assert IssuerRef(name="x", kind=issuer["kind"], group=issuer["group"]) == IssuerRef(name="x")


def test_every_kind_is_documented_and_shown_if_it_can_be_served() -> None:
    listed = set(re.findall(r"^\| `(\w+)`", DOCUMENTED, re.MULTILINE))
    assert listed == set(IDENTITY_KINDS)
    shown = {kind for example in EXAMPLES for kind in yaml.safe_load(example)["identity"]}
    assert shown == {"certManager", "csi", "podCertificate", "pkcs11"}


def test_a_certificate_that_no_secret_can_be_named_for_is_refused() -> None:
    assert certnames.secret_name("n" * 239) == f"rolesanywhere-{'n' * 239}"
    with pytest.raises(NameTooLong):
        certnames.secret_name("n" * 240)
    raw = a_raw_binding("n" * 240, identity={"certManager": ISSUER})
    with pytest.raises(InvalidBinding, match=r"has 240 characters, expected 239 at most"):
        bindings.parse(raw)


names = st.text(st.sampled_from("abc-."), min_size=1, max_size=40)


@settings(deadline=None)
@given(names, names)
def test_two_bindings_never_share_a_certificate(one: str, other: str) -> None:
    assert (certnames.secret_name(one) == certnames.secret_name(other)) == (one == other)


parts = st.lists(st.sampled_from(["x", "$", "{", "}", *certnames.VARIABLES, "${POD_NAME}"]))


@settings(deadline=None)
@given(parts.map("".join), st.text("pod-0", min_size=1), st.text("sa", min_size=1))
def test_no_pod_has_a_shorter_name_than_the_shortest(template: str, pod: str, account: str) -> None:
    uid = "0" * 36
    own = certnames.filled(template, pod=pod, namespace="team-a", service_account=account, uid=uid)
    assert len(certnames.shortest(template, namespace="team-a")) <= len(own)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h30m", 5400), ("90m", 5400), ("24h", 86400), ("1h1m1s", 3661)]
)
def test_a_duration_is_so_many_seconds(text: str, seconds: int) -> None:
    assert durations.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "1d", "h", "-1h", "1.5h", "1h ", "1h1h1h1h", "9999999h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidDuration):
        durations.seconds(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("${}POD_NAME,h1", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
FIELDS = {
    kind: sorted(schema["properties"]) for kind, schema in SPEC["identity"]["properties"].items()
}


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, fields in FIELDS.items() for field in fields]
)
@settings(deadline=None, max_examples=25)
@given(value=json_values)
def test_whatever_a_field_holds_it_is_an_identity_or_a_mistake(
    kind: str, field: str, value: object
) -> None:
    given = {"name": "x", "driver": "x", "signerName": "a.b/c", "keyType": "RSA3072"} | ISSUER
    raw = a_raw_binding(identity={kind: given | {field: value}})
    entry = bindings.read(raw)
    assert str(entry.identity if isinstance(entry, bindings.Binding) else entry)


@settings(deadline=None, max_examples=50)
@given(json_values, json_values, json_values)
def test_whatever_is_asked_of_a_certificate_it_is_an_identity_or_a_mistake(
    one: object, other: object, names: object
) -> None:
    given = {
        "issuerRef": {"name": one, "kind": other},
        "privateKey": {"algorithm": one, "size": other},
        "uris": [names],
    }
    entry = bindings.read(a_raw_binding(identity={"certManager": given}))
    assert str(entry)


def test_an_algorithm_that_is_no_text_is_a_mistake() -> None:
    with pytest.raises(InvalidBinding, match=r"privateKey\.algorithm: got \['RSA'\], expected"):
        a_binding(identity={"certManager": ISSUER | {"privateKey": {"algorithm": ["RSA"]}}})
