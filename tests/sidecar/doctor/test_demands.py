"""Certificates that Roles Anywhere would take, and those it would not, one flaw each."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from rolesanywhere_sidecar.doctor import demands
from rolesanywhere_sidecar.doctor.findings import Check, Finding
from rolesanywhere_sidecar.identities.keys import memory
from tests.fakes import crooked, pki
from tests.fakes.pki import AUTHORITY, LEAF, Authority, Template
from tests.support.examined import FAILURE, OK, WARNING, of, troubles

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
LONG = replace(LEAF, lives=timedelta(days=90))
ROOT = Authority.root(at=NOW)
MIDDLE = ROOT.intermediate("Middle", at=NOW)
RSA_ROOT = Authority.root("RSA", at=NOW, kind="rsa-2048")


def made(template: Template = LONG, *, by: Authority = ROOT) -> x509.Certificate:
    return by.leaf(at=NOW, template=template).certificate


def examined(
    leaf: x509.Certificate, chain: Sequence[x509.Certificate] = (), *, at: datetime = NOW
) -> list[Finding]:
    return list(demands.examine(leaf, chain, at=at))


def test_a_good_certificate_is_all_well() -> None:
    findings = examined(made(by=MIDDLE), [MIDDLE.certificate])
    assert troubles(findings) == []
    assert of(findings, Check.VALIDITY).sentence == (
        "the certificate expires in 89 days, at 2026-06-12 08:26:53Z"
    )


@pytest.mark.parametrize(
    ("left", "verdict"),
    [
        (timedelta(days=8), OK),
        (timedelta(days=6), WARNING),
        (timedelta(hours=23), WARNING),
        (timedelta(seconds=1), WARNING),
        (timedelta(0), FAILURE),
        (timedelta(days=-3), FAILURE),
    ],
)
def test_the_end_of_a_certificate_is_a_warning_before_it_is_a_failure(
    left: timedelta, verdict: str
) -> None:
    leaf = made()
    found = of(examined(leaf, at=leaf.not_valid_after_utc - left), Check.VALIDITY)
    assert found.verdict is verdict
    assert f"{leaf.not_valid_after_utc:%Y-%m-%d %H:%M:%SZ}" in found.sentence


def test_a_certificate_that_never_lives_for_long_is_warned_of_in_its_last_day_alone() -> None:
    leaf = made(replace(LEAF, lives=timedelta(days=7)))
    assert of(examined(leaf), Check.VALIDITY).verdict is OK
    last_day = leaf.not_valid_after_utc - timedelta(hours=20)
    assert of(examined(leaf, at=last_day), Check.VALIDITY).verdict is WARNING


def test_a_certificate_of_tomorrow_is_a_failure_but_not_one_of_a_moment_ahead() -> None:
    leaf = made()
    start = leaf.not_valid_before_utc
    early = of(examined(leaf, at=start - timedelta(hours=1)), Check.VALIDITY)
    assert early.verdict is FAILURE
    assert "valid only from" in early.sentence
    moment = of(examined(leaf, at=start - timedelta(minutes=4)), Check.VALIDITY)
    assert moment.verdict is OK


def test_an_expired_intermediate_is_named() -> None:
    after = MIDDLE.certificate.not_valid_after_utc + timedelta(seconds=1)
    found = of(examined(made(), [MIDDLE.certificate], at=after), Check.CHAIN_VALIDITY)
    assert found.verdict is FAILURE
    assert "'CN=Middle'" in found.sentence


def test_an_intermediate_that_ends_this_week_is_a_warning() -> None:
    soon = MIDDLE.certificate.not_valid_after_utc - timedelta(days=3)
    found = of(examined(made(), [MIDDLE.certificate], at=soon), Check.CHAIN_VALIDITY)
    assert found.verdict is WARNING


@pytest.mark.parametrize(
    ("template", "check", "verdict"),
    [
        (replace(LONG, ca=True), Check.BASIC_CONSTRAINTS, FAILURE),
        (replace(LONG, ca=None), Check.BASIC_CONSTRAINTS, WARNING),
        (replace(LONG, usage=frozenset({"key_encipherment"})), Check.KEY_USAGE, FAILURE),
        (replace(LONG, usage=None), Check.KEY_USAGE, WARNING),
        (replace(LONG, hash=hashes.SHA224()), Check.SIGNATURE_HASH, FAILURE),
    ],
)
def test_one_flaw_is_one_finding(template: Template, check: Check, verdict: str) -> None:
    assert troubles(examined(made(template))) == [(verdict, check)]


@pytest.mark.parametrize("digest", [hashes.SHA384(), hashes.SHA512()])
def test_stronger_hashes_are_well(digest: hashes.SHA384 | hashes.SHA512) -> None:
    assert troubles(examined(made(replace(LONG, hash=digest)))) == []


def test_no_extended_key_usage_is_asked_for() -> None:
    extended = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    with_two = of(examined(made(replace(LONG, extended=extended))), Check.EXTENDED_KEY_USAGE)
    assert (with_two.verdict, with_two.sentence[-7:]) == (OK, "names 2")
    assert of(examined(made()), Check.EXTENDED_KEY_USAGE).sentence.endswith("has none")


def test_sha1_is_a_failure_of_the_leaf_and_of_an_intermediate() -> None:
    assert isinstance(RSA_ROOT.key, rsa.RSAPrivateKey)
    old = crooked.signed_with_sha1(made(by=RSA_ROOT), RSA_ROOT.key)
    above = RSA_ROOT.intermediate("Old", at=NOW)
    above_old = crooked.signed_with_sha1(above.certificate, RSA_ROOT.key)
    assert "signed with SHA1" in of(examined(old), Check.SIGNATURE_HASH).sentence
    named = of(examined(made(), [above_old]), Check.SIGNATURE_HASH)
    assert named.verdict is FAILURE
    assert "'CN=Old'" in named.sentence


def test_version_1_is_a_failure() -> None:
    assert isinstance(RSA_ROOT.key, rsa.RSAPrivateKey)
    ancient = crooked.version_1(made(by=RSA_ROOT), RSA_ROOT.key)
    found = of(examined(ancient), Check.X509_VERSION)
    assert (found.verdict, found.sentence) == (
        FAILURE, "the certificate is X.509 version 1, expected 3",
    )  # fmt: skip


def certificate_for(key: object) -> x509.Certificate:
    """A certificate for a key of whatever kind."""
    name = pki.named("odd")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(ROOT.certificate.subject)
        .public_key(key.public_key())  # type: ignore[attr-defined] # the test's business
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=90))
        .sign(ROOT.key, hashes.SHA256())
    )


@pytest.mark.parametrize(
    ("key", "verdict", "said"),
    [
        (rsa.generate_private_key(65537, 2048), OK, "RSA of 2048 bits"),
        (rsa.generate_private_key(65537, 1024), FAILURE, "RSA of 1024 bits, expected"),  # noqa: S505 - shown to be refused
        (ec.generate_private_key(ec.SECP384R1()), OK, "ECDSA on P-384"),
        (ec.generate_private_key(ec.SECP256K1()), FAILURE, "ECDSA on secp256k1, expected"),
        (ed25519.Ed25519PrivateKey.generate(), FAILURE, "Ed25519, expected"),
    ],
    ids=["rsa-2048", "rsa-1024", "p384", "secp256k1", "ed25519"],
)
def test_the_kind_of_key_is_told(key: object, verdict: str, said: str) -> None:
    found = of(examined(certificate_for(key)), Check.KEY_TYPE)
    assert found.verdict is verdict
    assert said in found.sentence


def test_no_key_is_told_to_be_well_that_could_not_sign() -> None:
    assert demands.MINIMUM_RSA_BITS == memory.MINIMUM_RSA_BITS


def test_an_authority_as_a_leaf_fails_where_it_should() -> None:
    found = examined(ROOT.leaf(at=NOW, template=AUTHORITY).certificate)
    assert troubles(found) == [(FAILURE, Check.BASIC_CONSTRAINTS), (FAILURE, Check.KEY_USAGE)]
