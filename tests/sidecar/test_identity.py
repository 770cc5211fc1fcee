"""Which certificate is ours, what goes with it, and what the service would refuse."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.identities.certificates import InvalidIdentity, read_certificates
from rolesanywhere_sidecar.identities.identity import (
    CertificateExpired,
    CertificateNotYetValid,
    Identity,
    KeyMismatch,
    assemble,
    check,
    warnings,
)
from tests.fakes import crooked, pki
from tests.fakes.pki import LEAF, Authority

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
WHERE = "/identity/tls.crt"

ROOT = Authority.root(at=NOW)
UPPER = ROOT.intermediate("Upper", at=NOW)
LOWER = UPPER.intermediate("Lower", at=NOW)
DEEP = LOWER.leaf("deep", at=NOW)
STRANGER = Authority.root("Stranger", at=NOW)
RSA_ROOT = Authority.root("RSA", at=NOW, kind="rsa-2048")


def identity_of(held: pki.Identity, *others: x509.Certificate) -> Identity:
    return assemble([held.certificate, *others], public_key=held.key.public_key(), where=WHERE)


def refusal(held: pki.Identity, at: datetime = NOW) -> str:
    with pytest.raises(RolesAnywhereError) as caught:
        check(identity_of(held), at=at)
    assert f"in {WHERE}" in str(caught.value)
    return str(caught.value)


@given(st.permutations([DEEP.certificate, *DEEP.chain, ROOT.certificate, STRANGER.certificate]))
def test_any_order_of_certificates_gives_the_same_identity(held: list[x509.Certificate]) -> None:
    identity = assemble(held, public_key=DEEP.key.public_key(), where=WHERE)
    assert identity.leaf == DEEP.certificate
    assert identity.chain == DEEP.chain
    assert identity.unrelated == 1


def test_what_is_given_twice_is_sent_once() -> None:
    doubled = identity_of(DEEP, *DEEP.chain, DEEP.certificate, *DEEP.chain)
    assert doubled.chain == DEEP.chain
    assert doubled.unrelated == 0


def test_a_self_signed_root_is_not_sent_and_not_unrelated() -> None:
    identity = identity_of(DEEP, *DEEP.chain, ROOT.certificate)
    assert ROOT.certificate not in identity.chain
    assert identity.unrelated == 0


def test_an_authority_that_only_has_the_right_name_is_not_sent() -> None:
    impostor = UPPER.intermediate("Lower", at=NOW)
    assert identity_of(DEEP, impostor.certificate).chain == ()


def test_both_of_two_cross_signed_intermediates_are_sent() -> None:
    other = Authority.root("Other", at=NOW)
    crossed = other.leaf("Upper", at=NOW, key=UPPER.key, template=pki.AUTHORITY)
    identity = identity_of(DEEP, *DEEP.chain, crossed.certificate)
    assert identity.chain == (*DEEP.chain, crossed.certificate)


def test_without_intermediates_the_chain_is_empty() -> None:
    assert identity_of(DEEP).chain == ()


def test_the_leaf_is_the_certificate_of_the_key_wherever_it_stands() -> None:
    others = [ROOT.leaf(f"leaf {number}", at=NOW) for number in range(3)]
    for held in others:
        found = assemble(
            [other.certificate for other in others],
            public_key=held.key.public_key(),
            where=WHERE,
        )
        assert found.leaf == held.certificate


def test_a_key_of_no_certificate_is_said_to_be_so() -> None:
    with pytest.raises(KeyMismatch) as caught:
        assemble([DEEP.certificate], public_key=ROOT.key.public_key(), where=WHERE)
    assert f"certificate 'CN=deep' (serial {DEEP.certificate.serial_number:x})" in str(caught.value)


def test_what_an_identity_tells_of_itself() -> None:
    identity = identity_of(DEEP)
    assert identity.serial == DEEP.certificate.serial_number
    assert identity.not_before == NOW - timedelta(hours=1)
    assert identity.not_after == NOW + timedelta(days=7, hours=-1)
    assert identity.not_before.tzinfo is UTC
    assert identity.subject == "CN=deep"


def test_all_certificates_of_a_file_are_read_whatever_stands_between() -> None:
    pem = b"subject=whoever\n" + DEEP.certificate_pem + DEEP.key_pem() + DEEP.chain_pem
    assert read_certificates(pem, where=WHERE) == (DEEP.certificate, *DEEP.chain)


@pytest.mark.parametrize("pem", [b"", b"hello", DEEP.key_pem()])
def test_a_file_without_a_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(InvalidIdentity, match="holds no certificate; expected -----BEGIN"):
        read_certificates(pem, where=WHERE)


@pytest.mark.parametrize(
    "pem",
    [
        DEEP.certificate_pem[:-40],
        DEEP.certificate_pem + DEEP.chain_pem[:-40],
        DEEP.certificate_pem.replace(b"\nMI", b"\nXX"),
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    ],
    ids=["cut", "cut chain", "overwritten", "empty"],
)
def test_a_damaged_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(InvalidIdentity) as caught:
        read_certificates(pem, where=WHERE)
    assert "holds a certificate that cannot be read" in str(caught.value)


@given(st.binary(max_size=40), st.integers(min_value=0, max_value=600))
def test_garbage_is_refused_or_read_but_never_a_crash(garbage: bytes, place: int) -> None:
    pem = bytearray(DEEP.certificate_pem)
    pem[place : place + len(garbage)] = garbage
    problem: RolesAnywhereError | None = None
    try:
        found = read_certificates(bytes(pem), where=WHERE)
        identity = assemble(found, public_key=DEEP.key.public_key(), where=WHERE)
        check(identity, at=NOW)
        warnings(identity, at=NOW)
    except RolesAnywhereError as raised:
        problem = raised
    assert problem is None or WHERE in str(problem)


def test_a_proper_identity_passes_without_a_word() -> None:
    identity = identity_of(DEEP, *DEEP.chain)
    check(identity, at=NOW)
    assert warnings(identity, at=NOW) == ()


def test_an_expired_certificate_is_refused_from_its_last_moment() -> None:
    end = NOW + timedelta(days=7, hours=-1)
    check(identity_of(DEEP), at=end - timedelta(seconds=1))
    with pytest.raises(CertificateExpired, match="expired at 2026-03-21 08:26:53Z, and it is"):
        check(identity_of(DEEP), at=end)


def test_a_certificate_of_the_future_is_refused_but_a_slow_clock_forgiven() -> None:
    start = NOW - timedelta(hours=1)
    check(identity_of(DEEP), at=start - timedelta(minutes=5))
    with pytest.raises(
        CertificateNotYetValid, match="is valid from 2026-03-14 08:26:53Z"
    ) as caught:
        check(identity_of(DEEP), at=start - timedelta(minutes=5, seconds=1))
    assert caught.value.retryable


def test_a_ca_certificate_is_refused() -> None:
    authority = ROOT.leaf(at=NOW, template=replace(LEAF, ca=True))
    assert "is a CA certificate (CA:true), and Roles Anywhere refuses" in refusal(authority)


def test_a_certificate_that_may_not_sign_is_refused() -> None:
    held = ROOT.leaf(at=NOW, template=replace(LEAF, usage=frozenset({"key_encipherment"})))
    assert "lacks digitalSignature in its key usage" in refusal(held)


def test_a_certificate_signed_with_sha1_is_refused() -> None:
    held = RSA_ROOT.leaf(at=NOW)
    weak = crooked.signed_with_sha1(held.certificate, RSA_ROOT.key)  # type: ignore[arg-type]  # RSA
    assert "is signed with SHA1" in refusal(replace(held, certificate=weak))


def test_a_version_1_certificate_is_refused() -> None:
    held = RSA_ROOT.leaf(at=NOW)
    old = crooked.version_1(held.certificate, RSA_ROOT.key)  # type: ignore[arg-type]  # RSA
    assert "is not an X.509 version 3 certificate" in refusal(replace(held, certificate=old))


def test_what_may_be_refused_is_a_warning() -> None:
    bare = ROOT.leaf(at=NOW, template=replace(LEAF, ca=None, usage=None))
    identity = identity_of(bare, STRANGER.certificate)
    check(identity, at=NOW)
    constraints, usage, unrelated = warnings(identity, at=NOW)
    assert "has no readable basic constraints, but Roles Anywhere expects CA:false" in constraints
    assert "has no readable key usage, but Roles Anywhere expects digitalSignature" in usage
    assert "1 certificate(s) beside certificate 'CN=workload'" in unrelated


def test_an_intermediate_past_its_time_is_a_warning() -> None:
    held = LOWER.leaf("deep", at=NOW, template=replace(LEAF, lives=timedelta(days=5000)))
    identity = identity_of(held, *held.chain)
    later = NOW + timedelta(days=4000)
    assert [sentence.split()[1] for sentence in warnings(identity, at=later)] == [
        "'CN=Lower'",
        "'CN=Upper'",
    ]


def test_a_long_tangle_of_certificates_is_untangled() -> None:
    chain = [ROOT]
    for number in range(8):
        chain.append(chain[-1].intermediate(f"Level {number}", at=NOW))
    leaf = chain[-1].leaf(at=NOW)
    held = [leaf.certificate, *itertools.chain(*(c.chain for c in chain)), *leaf.chain]
    held.sort(key=lambda certificate: certificate.serial_number)
    assert assemble(held, public_key=leaf.key.public_key(), where=WHERE).chain == leaf.chain
