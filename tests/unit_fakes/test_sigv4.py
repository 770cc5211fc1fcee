"""The verifiers' own reading of Signature Version 4, held against AWS's published examples."""

import hashlib
import hmac

import pytest

from tests.fakes import sigv4
from tests.fakes.sigv4 import Envelope
from tests.fakes.wire import WireRequest

# The worked example of "Create a signed AWS API request": ListUsers on 2015-08-30.
LIST_USERS = WireRequest(
    "GET",
    "/?Action=ListUsers&Version=2010-05-08",
    (
        ("Host", "iam.amazonaws.com"),
        ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
        ("X-Amz-Date", "20150830T123600Z"),
    ),
    b"",
)
ENVELOPE = Envelope(
    algorithm="AWS4-HMAC-SHA256",
    credential="AKIDEXAMPLE",
    scope="20150830/us-east-1/iam/aws4_request",
    timestamp="20150830T123600Z",
    signed_headers=("content-type", "host", "x-amz-date"),
    signature="5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
)


def test_the_published_canonical_request_has_the_published_hash() -> None:
    canonical = sigv4.canonical_request(LIST_USERS, ENVELOPE.signed_headers)
    assert hashlib.sha256(canonical).hexdigest() == (
        "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
    )


def test_the_published_signature_is_over_the_string_to_sign() -> None:
    key = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    for part in ENVELOPE.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    message = sigv4.string_to_sign(LIST_USERS, ENVELOPE)
    assert hmac.digest(key, message, "sha256").hex() == ENVELOPE.signature


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("", "/"),
        ("/", "/"),
        ("/sessions", "/sessions"),
        ("/./example", "/example"),
        ("/example/..", "/"),
        ("//example//", "/example/"),
        ("/../../example", "/example"),
        ("/-._~azAZ09", "/-._~azAZ09"),
        ("/a%20b", "/a%2520b"),
    ],
)
def test_a_path_is_normalised_and_encoded_once_more(path: str, canonical: str) -> None:
    assert sigv4.canonical_uri(path) == canonical


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("", ""),
        ("b=2&a=1", "a=1&b=2"),
        ("a=2&a=1", "a=1&a=2"),
        ("a", "a="),
        ("a=%3a%2f", "a=%3A%2F"),
        ("a=:/", "a=%3A%2F"),
        ("a=b+c", "a=b%2Bc"),
        ("a=b%20c", "a=b%20c"),
        ("a=%7e-._", "a=~-._"),
        ("a=b=c", "a=b%3Dc"),
        ("A=1&a=2&%41=0", "A=0&A=1&a=2"),
    ],
)
def test_a_query_is_sorted_and_encoded_alike(query: str, canonical: str) -> None:
    assert sigv4.canonical_query(query) == canonical
