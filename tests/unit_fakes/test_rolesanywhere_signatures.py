"""The pretended Roles Anywhere believes a good signature, and nothing that is nearly one."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import pki, sigv4
from tests.fakes.pki import KeyKind
from tests.fakes.scene import HOST, NOW, Scene, a_scene, trusting
from tests.fakes.sessions import Session
from tests.fakes.wire import WireRequest

SCENE = a_scene()
DENIED = (403, "AccessDeniedException")


def changed(request: WireRequest, name: str, value: str | None) -> WireRequest:
    """``request`` with one header replaced, or removed for ``None``."""
    kept = [(key, old) for key, old in request.headers if key.lower() != name.lower()]
    added = [] if value is None else [(name, value)]
    return replace(request, headers=(*kept, *added))


MLDSA: tuple[KeyKind, ...] = ("ml-dsa-44", "ml-dsa-65", "ml-dsa-87")


@pytest.mark.parametrize("kind", ["rsa-2048", "rsa-3072", "p256", "p384", "p521", *MLDSA])
def test_every_kind_of_key_gets_its_session(kind: KeyKind) -> None:
    scene = a_scene(kind)
    session = scene.granted(scene.request())
    assert session.serial_number == scene.identity.certificate.serial_number


def test_a_signature_by_another_key_is_invalid() -> None:
    request = SCENE.request(key=pki.new_key("p256"))
    assert SCENE.refusal(request) == (*DENIED, "Invalid signature")


@pytest.mark.parametrize("kind", MLDSA)
def test_a_signature_by_another_mldsa_key_is_invalid(kind: KeyKind) -> None:
    scene = a_scene(kind)
    for other in (kind, "p256"):
        request = scene.request(key=pki.new_key(other), algorithm="AWS4-X509-MLDSA")
        assert scene.refusal(request) == (*DENIED, "Invalid signature")


@pytest.mark.parametrize(
    ("kind", "word"),
    [("ml-dsa-44", "AWS4-X509-ECDSA-SHA256"), ("p256", "AWS4-X509-MLDSA"),
     ("ml-dsa-65", "AWS4-X509-MLDSA-65")],
)  # fmt: skip
def test_the_word_for_mldsa_is_for_it_alone(kind: KeyKind, word: str) -> None:
    scene = a_scene(kind)
    assert f"{word} is not an algorithm" in scene.refusal(scene.request(algorithm=word))[2]


@pytest.mark.parametrize("kind", MLDSA)
def test_an_authority_may_be_of_mldsa(kind: KeyKind) -> None:
    scene = a_scene("p256", root_kind=kind)
    scene.granted(scene.request())


def test_the_algorithm_word_must_fit_the_key() -> None:
    status, code, message = SCENE.refusal(SCENE.request(algorithm="AWS4-X509-RSA-SHA256"))
    assert (status, code) == DENIED
    assert "AWS4-X509-RSA-SHA256 is not an algorithm" in message


def test_the_hash_of_the_issuer_does_not_name_the_algorithm() -> None:
    assert "AWS4-X509-ECDSA-SHA384 is not" in SCENE.refusal(
        SCENE.request(algorithm="AWS4-X509-ECDSA-SHA384")
    )[2]  # fmt: skip


@pytest.mark.parametrize("spelling", ["{:x}", "0{}", "{}0"])
def test_the_serial_must_be_the_certificates_in_decimal(spelling: str) -> None:
    serial = spelling.format(SCENE.identity.certificate.serial_number)
    assert "serial number in decimal" in SCENE.refusal(SCENE.request(serial=serial))[2]


@pytest.mark.parametrize(
    "scope",
    [
        "20260313/eu-west-1/rolesanywhere/aws4_request",
        "20260314/us-east-1/rolesanywhere/aws4_request",
        "20260314/eu-west-1/sts/aws4_request",
        "20260314/eu-west-1/rolesanywhere/aws3_request",
    ],
)
def test_the_scope_must_be_this_day_region_service_and_terminator(scope: str) -> None:
    status, code, message = SCENE.refusal(SCENE.request(scope=scope))
    assert (status, code) == DENIED
    assert f"scope is {scope}, expected" in message


@pytest.mark.parametrize("minutes", [-5, 0, 5])
def test_a_clock_may_be_five_minutes_off(minutes: int) -> None:
    SCENE.granted(SCENE.request(at=NOW + timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("off", "words"), [(-301, "Signature expired"), (301, "Signature not yet current")]
)
def test_a_clock_may_not_be_further_off(off: int, words: str) -> None:
    request = SCENE.request(at=NOW + timedelta(seconds=off))
    assert words in SCENE.refusal(request)[2]


@pytest.mark.parametrize("date", [None, "2026-03-14T09:26:53Z", "20261332T092653Z"])
def test_the_date_must_be_there_and_be_one(date: str | None) -> None:
    assert "X-Amz-Date" in SCENE.refusal(changed(SCENE.request(), "X-Amz-Date", date))[2]


def test_the_scope_is_of_the_day_it_was_signed_not_of_the_day_it_arrived() -> None:
    signed, arrived = NOW.replace(hour=23, minute=59), NOW.replace(day=15, hour=0, minute=1)
    SCENE.granted(SCENE.request(at=signed), at=arrived)


@pytest.mark.parametrize("name", ["host", "x-amz-date", "x-amz-x509", "content-type"])
def test_headers_that_matter_must_be_signed(name: str) -> None:
    assert SCENE.refusal(SCENE.request(leave_out=[name]))[2] == f"Header {name} is not signed"


def test_a_chain_that_is_sent_must_be_signed() -> None:
    below = SCENE.root.intermediate(at=NOW)
    scene = SCENE.as_(below.leaf(at=NOW))
    request = scene.request(leave_out=["x-amz-x509-chain"])
    assert scene.refusal(request)[2] == "Header x-amz-x509-chain is not signed"


@pytest.mark.parametrize("name", ["Host", "X-Amz-X509", "Content-Type"])
def test_a_signed_header_must_be_sent(name: str) -> None:
    message = SCENE.refusal(changed(SCENE.request(), name, None))[2]
    assert message == f"Header {name.lower()} is missing"


def test_an_unsigned_request_is_refused() -> None:
    message = SCENE.refusal(changed(SCENE.request(), "Authorization", None))[2]
    assert message == "Missing Authentication Token"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Credential=", "Certificate="),
        ("Signature=", "Signature=X"),
        (", Signature=", ", "),
    ],
)
def test_the_authorization_header_has_one_shape(old: str, new: str) -> None:
    request = SCENE.request()
    header = request.get("authorization") or ""
    assert old in header
    assert SCENE.refusal(changed(request, "Authorization", header.replace(old, new)))[:2] == DENIED


@pytest.mark.parametrize("names", ["host;content-type", "Content-Type;host", "host;host"])
def test_signed_headers_are_listed_once_in_lower_case_and_order(names: str) -> None:
    request = SCENE.request()
    header = (request.get("authorization") or "").replace("content-type;host", names)
    message = SCENE.refusal(changed(request, "Authorization", header))[2]
    assert message == "SignedHeaders must be lower case and sorted"


@pytest.mark.parametrize("text", ["", "AAAA", "not base64", "{},{}"])
def test_a_certificate_that_cannot_be_read_is_refused(text: str) -> None:
    request = SCENE.request()
    text = text.format(*[request.get("x-amz-x509")] * 2)
    assert "one DER certificate in base64" in SCENE.refusal(changed(request, "X-Amz-X509", text))[2]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/sessions"), ("POST", "/session"), ("POST", "/sessions/")]
)
def test_other_operations_do_not_exist(method: str, path: str) -> None:
    request = SCENE.request(method=method, path=path)
    assert SCENE.refusal(request)[:2] == (404, "UnknownOperationException")


def test_headers_may_come_in_any_order_and_case() -> None:
    request = SCENE.request()
    headers = tuple((name.upper(), value) for name, value in reversed(request.headers))
    SCENE.granted(replace(request, headers=headers))


def test_spaces_around_and_within_a_header_are_folded() -> None:
    request = SCENE.request(headers={"X-Amz-Note": "a b"})
    SCENE.granted(changed(request, "X-Amz-Note", "  a   b "))


def test_a_repeated_signed_header_counts_with_all_its_values() -> None:
    request = SCENE.request(headers={"X-Amz-Note": "a,b"})
    twice = (*changed(request, "X-Amz-Note", "a").headers, ("X-Amz-Note", "b"))
    SCENE.granted(replace(request, headers=twice))
    assert SCENE.refusal(replace(request, headers=(*twice, ("X-Amz-Note", "c"))))[2] == (
        "Invalid signature"
    )


def test_parameters_may_come_in_another_order() -> None:
    request = SCENE.request()
    query = "&".join(reversed(request.query.split("&")))
    SCENE.granted(replace(request, target=f"{request.path}?{query}"))


def test_an_unsigned_header_may_change() -> None:
    request = SCENE.request()
    SCENE.granted(changed(request, "User-Agent", "somebody else"))
    SCENE.granted(changed(request, "Via", "a proxy"))


# A real request as one string of bytes, so that a flip can hit anything that was signed. Two
# changes mean the same to HTTP and are left out: the case of a header's name, and the case of a
# percent-encoding's digits (RFC 3986 section 6.2.2.1).
@pytest.fixture(scope="module", params=["rsa-2048", "p256", "ml-dsa-44", "p521"])
def signed(request: pytest.FixtureRequest) -> tuple[Scene, WireRequest]:
    root = pki.Authority.root(at=NOW)
    below = root.intermediate(at=NOW)
    scene = replace(a_scene(), root=root, identity=below.leaf(at=NOW, kind=request.param))
    scene = scene.within(trusting(scene.world, root.certificate))
    message = scene.request()
    scene.granted(message)
    return scene, message


def test_one_flipped_bit_anywhere_is_refused(signed: tuple[Scene, WireRequest]) -> None:
    scene, request = signed

    @settings(max_examples=400, deadline=None, database=None, derandomize=True)
    @given(part=st.sampled_from(PARTS), where=st.integers(0, 10**6), bit=st.integers(0, 7))
    def one_flip_is_refused(part: str, where: int, bit: int) -> None:
        flipped = flip(request, part, where, bit)
        if flipped != request and not means_the_same(request, flipped):
            assert not isinstance(scene.ask(flipped), Session), f"{part}: {flipped}"

    one_flip_is_refused()


PARTS = ("method", "target", "body", "Authorization", "X-Amz-X509", "X-Amz-X509-Chain",
         "X-Amz-Date", "Host", "Content-Type")  # fmt: skip


def flip(request: WireRequest, part: str, where: int, bit: int) -> WireRequest:
    """``request`` with one bit of one byte of ``part`` turned over."""
    if part == "body":
        return replace(request, body=_flipped(request.body, where, bit))
    if part == "method":
        return replace(request, method=_flipped_text(request.method, where, bit))
    if part == "target":
        return replace(request, target=_flipped_text(request.target, where, bit))
    return changed(request, part, _flipped_text(request.get(part) or "", where, bit))


def _flipped(octets: bytes, where: int, bit: int) -> bytes:
    at = where % len(octets)
    return octets[:at] + bytes([octets[at] ^ (1 << bit)]) + octets[at + 1 :]


def _flipped_text(text: str, where: int, bit: int) -> str:
    return _flipped(text.encode("latin-1"), where, bit).decode("latin-1")


def means_the_same(one: WireRequest, other: WireRequest) -> bool:
    """Do they differ in the case of percent-encodings alone?"""
    return replace(one, target="") == replace(other, target="") and (
        one.path == other.path
        and sigv4.canonical_query(one.query) == sigv4.canonical_query(other.query)
    )


@pytest.mark.parametrize("part", PARTS)
def test_the_flip_reaches_every_part(part: str, signed: tuple[Scene, WireRequest]) -> None:
    _, request = signed
    assert {flip(request, part, where, 0) != request for where in range(50)} == {True}


def test_the_host_that_was_signed_is_the_host_that_was_asked() -> None:
    request = changed(SCENE.request(), "Host", f"{HOST}:443")
    assert SCENE.refusal(request)[2] == "Invalid signature"
