"""Signing, step by step, against vectors that were derived by hand with openssl."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_sidecar import signing
from rolesanywhere_sidecar.signing import Draft, KeyKind, draft_request

VECTORS = Path(__file__).parent / "vectors"
CASES = sorted(path for path in VECTORS.iterdir() if path.is_dir())

each_vector = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def certificates(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes()) if path.exists() else []


def drafted(case: Path) -> Draft:
    """What our signer makes of the vector's request."""
    asked = dict(line.split("=", 1) for line in (case / "request").read_text().splitlines())
    [leaf] = certificates(case / "certificate.pem")
    return draft_request(
        host=asked["host"],
        query={
            "trustAnchorArn": asked["trust_anchor_arn"],
            "profileArn": asked["profile_arn"],
            "roleArn": asked["role_arn"],
        },
        body=asked["body"].encode(),
        certificate=leaf.public_bytes(Encoding.DER),
        chain=[held.public_bytes(Encoding.DER) for held in certificates(case / "chain.pem")],
        serial=leaf.serial_number,
        key_kind=KeyKind.RSA if asked["key"].startswith("rsa") else KeyKind.ECDSA,
        region=asked["region"],
        invocation_id=asked["invocation_id"],
        at=datetime.strptime(asked["date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
    )


def signature_of(case: Path) -> bytes:
    return bytes.fromhex((case / "authorization").read_text().rpartition("=")[2])


def verify(case: Path, payload: bytes) -> None:
    """Raises InvalidSignature unless the vector's signature is over ``payload``."""
    [leaf] = certificates(case / "certificate.pem")
    match leaf.public_key():
        case rsa.RSAPublicKey() as key:
            key.verify(signature_of(case), payload, padding.PKCS1v15(), hashes.SHA256())
        case ec.EllipticCurvePublicKey() as key:
            key.verify(signature_of(case), payload, ec.ECDSA(hashes.SHA256()))
        case other:
            pytest.fail(f"a vector with a {type(other).__name__}")


def a_draft(at: datetime = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)) -> Draft:
    return draft_request(
        host="h",
        query={"b": "2", "a": "1"},
        body=b"{}",
        certificate=b"leaf",
        chain=[],
        serial=7,
        key_kind=KeyKind.RSA,
        region="eu-west-1",
        invocation_id="id",
        at=at,
    )


def test_there_are_vectors() -> None:
    assert len(CASES) >= 5


@each_vector
def test_the_canonical_request_is_the_vectors(case: Path) -> None:
    assert drafted(case).canonical_request == (case / "canonical-request").read_text()


@each_vector
def test_the_string_to_sign_is_the_vectors(case: Path) -> None:
    assert drafted(case).string_to_sign == (case / "string-to-sign").read_text()


@each_vector
def test_openssls_signature_is_over_our_payload(case: Path) -> None:
    payload = drafted(case).payload
    verify(case, payload)
    with pytest.raises(InvalidSignature):
        verify(case, payload + b"\n")


@each_vector
def test_the_authorization_is_the_vectors(case: Path) -> None:
    request = drafted(case).signed_with(signature_of(case))
    assert request.headers["authorization"] == (case / "authorization").read_text()


@each_vector
def test_what_is_sent_is_what_was_signed(case: Path) -> None:
    draft = drafted(case)
    request = draft.signed_with(b"\x00")
    assert request.target == f"/sessions?{draft.canonical_request.splitlines()[2]}"
    assert {**request.headers, "authorization": ""} == {**draft.headers, "authorization": ""}
    assert request.body == draft.body


def test_the_issuers_hash_never_names_the_algorithm() -> None:
    case = VECTORS / "p384-from-a-sha384-authority"
    [leaf] = certificates(case / "certificate.pem")
    assert isinstance(leaf.signature_hash_algorithm, hashes.SHA384)
    assert drafted(case).algorithm == "AWS4-X509-ECDSA-SHA256"


def test_every_kind_of_key_has_an_algorithm() -> None:
    assert set(signing.ALGORITHM) == set(KeyKind)


def test_the_date_is_utc_wherever_the_clock_hangs() -> None:
    east = datetime(2026, 3, 15, 1, 0, tzinfo=timezone(timedelta(hours=9)))
    assert a_draft(at=east).headers["x-amz-date"] == "20260314T160000Z"
    assert a_draft(at=east).credential == "7/20260314/eu-west-1/rolesanywhere/aws4_request"


def test_no_chain_sends_no_chain_header() -> None:
    assert "x-amz-x509-chain" not in a_draft().headers
    assert "x-amz-x509-chain" not in a_draft().canonical_request


def test_header_values_are_trimmed_and_their_spaces_collapsed() -> None:
    text = signing.canonical_request(query="", headers={"b": "  x   y ", "a": "1"}, body=b"")
    assert text.splitlines()[3:5] == ["a:1", "b:x y"]


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_an_encoded_query_decodes_to_what_it_was(query: dict[str, str]) -> None:
    encoded = signing.canonical_query(query)
    assert dict(parse_qsl(encoded, keep_blank_values=True, strict_parsing=bool(query))) == query
    assert set(encoded) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%=&"
    )


def test_a_draft_signs_nothing_but_its_payload() -> None:
    draft = a_draft()
    assert draft.payload == draft.string_to_sign.encode("ascii")
    assert draft.signed_with(b"\xab\x01").headers["authorization"].endswith("Signature=ab01")
