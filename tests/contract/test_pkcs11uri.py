"""PKCS#11 URIs as RFC 7512 has them: what they say, what is none, and what is not done here."""

from dataclasses import fields
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.pkcs11uri import (
    TYPES,
    InvalidPkcs11Uri,
    Pkcs11Uri,
    is_one,
    redacted,
)

PIN = "s3cr3t-PIN"


# RFC 7512, section 3: all its examples, in its order.
@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("pkcs11:", {}),
        ("pkcs11:object=my-pubkey;type=public", {"object": "my-pubkey", "type": "public"}),
        (
            "pkcs11:object=my-key;type=private?pin-source=file:/etc/token",
            {"object": "my-key", "type": "private", "pin_source": "file:/etc/token"},
        ),
        (
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc."
            ";model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial="
            "?pin-source=file:/etc/token_pin",
            {
                "token": "The Software PKCS#11 Softtoken",
                "manufacturer": "Snake Oil, Inc.",
                "model": "1.0",
                "object": "my-certificate",
                "type": "cert",
                "id": b"\x69\x95\x3e\x5c\xf4\xbd\xec\x91",
                "serial": "",
                "pin_source": "file:/etc/token_pin",
            },
        ),
        (
            "pkcs11:object=my-sign-key;type=private?module-name=mypkcs11",
            {"object": "my-sign-key", "type": "private", "module_name": "mypkcs11"},
        ),
        (
            "pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1",
            {"object": "my-sign-key", "type": "private", "module_path": "/mnt/libmypkcs11.so.1"},
        ),
        (
            "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc."
            "?pin-value=the-pin",
            {
                "token": "Software PKCS#11 softtoken",
                "manufacturer": "Snake Oil, Inc.",
                "pin_value": "the-pin",
            },
        ),
        ("pkcs11:slot-description=Sun%20Metaslot", {"slot_description": "Sun Metaslot"}),
        (
            "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token"
            "%20Library;library-version=1.23",
            {
                "library_manufacturer": "Snake Oil, Inc.",
                "library_description": "Soft Token Library",
                "library_version": (1, 23),
            },
        ),
        (
            "pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3"
            ";id=%01%02%03%Ba%dd%Ca%fe%04%05%06",
            {
                "token": "My token% created by Joe",
                "library_version": (3, 0),
                "id": bytes.fromhex("010203baddcafe040506"),
            },
        ),
        (
            "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
            {
                "token": "A name with a substring %;",
                "object": "my-certificate",
                "type": "cert",
            },
        ),
        (
            "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1"
            ";object=my-certificate;type=cert",
            {
                "token": "Name with a small A with acute: á",
                "object": "my-certificate",
                "type": "cert",
            },
        ),
        (
            "pkcs11:token=my-token;object=my-certificate;type=cert;vendor-aaa=value-a"
            "?pin-source=file:/etc/token_pin&vendor-bbb=value-b",
            {
                "token": "my-token",
                "object": "my-certificate",
                "type": "cert",
                "unknown_path": (("vendor-aaa", b"value-a"),),
                "pin_source": "file:/etc/token_pin",
                "unknown_query": (("vendor-bbb", b"value-b"),),
            },
        ),
    ],
)
def test_the_examples_of_the_rfc_mean_what_it_says(text: str, means: dict[str, Any]) -> None:
    assert Pkcs11Uri.parse(text) == Pkcs11Uri(**means)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("PKCS11:token=a", {"token": "a"}),
        ("pkcs11:?", {}),
        ("pkcs11:token=a+b", {"token": "a+b"}),
        ("pkcs11:token=a=b&c", {"token": "a=b&c"}),
        ("pkcs11:token=[:]@!$'()*+,=&-._~", {"token": "[:]@!$'()*+,=&-._~"}),
        ("pkcs11:token=a%3Bobject=b", {"token": "a;object=b"}),
        ("pkcs11:token=a%3Fpin", {"token": "a?pin"}),
        ("pkcs11:token=%2541", {"token": "%41"}),
        ("pkcs11:id=", {"id": b""}),
        ("pkcs11:id=%00%ff%80", {"id": b"\x00\xff\x80"}),
        ("pkcs11:id=abc", {"id": b"abc"}),
        ("pkcs11:slot-id=0", {"slot_id": 0}),
        ("pkcs11:slot-id=007", {"slot_id": 7}),
        ("pkcs11:slot-id=18446744073709551615", {"slot_id": 2**64 - 1}),
        ("pkcs11:library-version=2.040", {"library_version": (2, 40)}),
        ("pkcs11:?pin-value=a/b?c|d", {"pin_value": "a/b?c|d"}),
        ("pkcs11:?pin-value=a%26b", {"pin_value": "a&b"}),
        ("pkcs11:?x=1&x=2", {"unknown_query": (("x", b"1"), ("x", b"2"))}),
        ("pkcs11:Token=a", {"unknown_path": (("Token", b"a"),)}),
    ],
)
def test_what_the_grammar_allows_is_read_as_it_says(text: str, means: dict[str, Any]) -> None:
    assert Pkcs11Uri.parse(text) == Pkcs11Uri(**means)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "does not begin with pkcs11:"),
        ("pkcs11", "does not begin with pkcs11:"),
        (" pkcs11:", "does not begin with pkcs11:"),
        ("file:/etc/key", "does not begin with pkcs11:"),
        ("pkcs11:token", "no <name>=<value> as attribute 1 before its ?"),
        ("pkcs11:=a", "no <name>=<value> as attribute 1"),
        ("pkcs11:token=a;", "no <name>=<value> as attribute 2 before its ?"),
        ("pkcs11:token=a;;id=%01", "no <name>=<value> as attribute 2 before"),
        ("pkcs11:to%6ben=a", "no <name>=<value> as attribute 1"),
        ("pkcs11:token=a?x=1&", "no <name>=<value> as attribute 2 after its ?"),
        ("pkcs11:token=a;token=b", "has the attribute token twice"),
        ("pkcs11:token=a;token=a", "has the attribute token twice"),
        ("pkcs11:x=a;x=b", "has the attribute x twice"),
        ("pkcs11:?pin-source=/a&pin-source=/a", "has the attribute pin-source twice"),
        ("pkcs11:?module-path=/a&module-path=/b", "has the attribute module-path twice"),
        ("pkcs11:token=a b", "a character in token that must be encoded"),
        ("pkcs11:token=a\n", "a character in token that must be encoded"),
        ("pkcs11:token=á", "a character in token that must be encoded"),
        ("pkcs11:token=a/b", "a character in token that must be encoded"),
        ("pkcs11:token=a#b", "a character in token that must be encoded"),
        ('pkcs11:token="a"', "a character in token that must be encoded"),
        ("pkcs11:token=50%", "a stray %"),
        ("pkcs11:token=%4", "a stray %"),
        ("pkcs11:token=%4g", "a stray %"),
        ("pkcs11:token=%+4", "a stray %"),
        ("pkcs11:id=%69%9", "a stray %"),
        ("pkcs11:?x=a;b", "a character in attribute 1 after its ?"),
        ("pkcs11:token=%ff", "a value of token that is not UTF-8"),
        ("pkcs11:token=a%00", "a zero byte in its token"),
        ("pkcs11:?pin-value=a%00", "a zero byte in its pin-value"),
        ("pkcs11:slot-id=", "a slot-id that is no slot's number"),
        ("pkcs11:slot-id=-1", "a slot-id that is no slot's number"),
        ("pkcs11:slot-id=0x1", "a slot-id that is no slot's number"),
        ("pkcs11:slot-id=%30", "a slot-id that is no slot's number"),
        ("pkcs11:slot-id=%d9%a1", "a slot-id that is no slot's number"),
        ("pkcs11:slot-id=18446744073709551616", "a slot-id that is no slot's number"),
        ("pkcs11:slot-id=" + "9" * 10_000, "a slot-id that is no slot's number"),
        ("pkcs11:library-version=", "a library-version that is none"),
        ("pkcs11:library-version=1.", "a library-version that is none"),
        ("pkcs11:library-version=1.2.3", "a library-version that is none"),
        ("pkcs11:library-version=256", "a library-version that is none"),
        ("pkcs11:library-version=1.256", "a library-version that is none"),
        ("pkcs11:type=", "a type that is none; expected public, private, cert, secret-key or data"),
        ("pkcs11:type=Cert", "a type that is none"),
        ("pkcs11:type=c%65rt", "a type that is none"),
        ("pkcs11:type=%ff", "a type that is none"),
        ("pkcs11:?pin-source=/a&pin-value=1", "both a pin-source and a pin-value"),
        ("pkcs11:?pin-value=", "an empty pin-value"),
        ("pkcs11:?pin-source=", "an empty pin-source"),
    ],
)
def test_what_is_no_uri_is_refused_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(InvalidPkcs11Uri) as caught:
        Pkcs11Uri.parse(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "of", "says"),
    [
        ("pkcs11:type=private", "cert", "is of type=private; expected type=cert here, or no type"),
        ("pkcs11:type=public", "private", "is of type=public; expected type=private here"),
        ("pkcs11:?module-path=/tmp/evil.so", "cert", "code is not loaded for a URI"),
        ("pkcs11:?module-name=evil", "private", "name the module's file as --pkcs11-lib"),
        ("pkcs11:?module-name=", "private", "code is not loaded for a URI"),
        ("pkcs11:tokn=a", "cert", "the attribute tokn, which RFC 7512 does not define; expected"),
        ("pkcs11:vendor-aaa=a", "cert", "the attribute vendor-aaa, which"),
        ("pkcs11:?vendor-bbb=b", "cert", "the attribute vendor-bbb after its ?, which is not used"),
        ("pkcs11:?pin-source=|/bin/pin", "cert", "no command is run for a PIN"),
        ("pkcs11:?pin-source=pin.txt", "cert", "not the absolute path of a file"),
        ("pkcs11:?pin-source=file:pin.txt", "cert", "not the absolute path of a file"),
        ("pkcs11:?pin-source=file://elsewhere/pin", "cert", "not the absolute path of a file"),
        ("pkcs11:?pin-source=https://host/pin", "cert", "not the absolute path of a file"),
    ],
)
def test_what_would_be_ignored_or_is_not_done_is_refused_by_name(
    text: str, of: Literal["cert", "private"], says: str
) -> None:
    Pkcs11Uri.parse(text)
    with pytest.raises(InvalidPkcs11Uri) as caught:
        Pkcs11Uri.configured(text, of=of)
    assert says in str(caught.value)


@pytest.mark.parametrize("of", ["cert", "private"])
def test_a_uri_without_a_type_may_be_of_certificate_and_key(of: Literal["cert", "private"]) -> None:
    text = "pkcs11:library-version=2.6;slot-id=0;token=a;serial=1;object=b;id=%01?pin-source=/a"
    assert Pkcs11Uri.configured(text, of=of) == Pkcs11Uri.parse(text)


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("/etc/pin", "/etc/pin"),
        ("file:/etc/pin", "/etc/pin"),
        ("file:///etc/pin", "/etc/pin"),
        ("file://localhost/etc/pin", "/etc/pin"),
        ("file:/etc/a%20pin", "/etc/a pin"),
    ],
)
def test_a_pin_source_is_the_path_of_a_file(source: str, path: str) -> None:
    assert Pkcs11Uri.parse(f"pkcs11:?pin-source={source}").pin_file == path


# However it is misspelt: what is refused is not repeated.
@pytest.mark.parametrize(
    "text",
    [
        f"pkcs11:token=a?pin-value={PIN}",
        f"pkcs11:token=a?pin-value={PIN};x",
        f"pkcs11:token=a?pin-value=x&{PIN}",
        f"pkcs11:token=a?pin-value=x&{PIN}=y",
        f"pkcs11:token=a?pin-value=x&y={PIN}",
        f"pkcs11:token=a?pin-value=x&y={PIN}%",
        f"pkcs11:token=a?pin-value=x&pin-value={PIN}",
        f"pkcs11:token=a?pin-source=/a&pin-value={PIN}",
        f"pkcs11:token=a?pin-value={PIN}%00",
        f"pkcs11:token=a?pin-value={PIN}%ff",
        f"pkcs11:token=a?pin-value={PIN}#x",
        f"pkcs11:token=a?pin-value={PIN}&vendor=x",
        f"pkcs11:token=a?pin-value={PIN}&module-path=/x",
        f"pkcs11:token=a?pin_value={PIN}",
        f"pkcs11:token=a?PIN-VALUE={PIN}",
        f"pkcs11:token=a?pin={PIN}",
        f"pkcs11:token=a;pin-value={PIN}",
        f"pkcs11:token=a;pin={PIN}",
        f"pkcs11:token=a&pin-value={PIN}",
        f"pkcs11:token=a/pin-value={PIN}",
        f"pkcs11:tok en=a?pin-value={PIN}",
        f"pkcs11:type={PIN}",
        f"pkcs11:slot-id={PIN}",
        f"pkcs11:library-version={PIN}",
        f"pkcs11:{PIN}",
    ],
)
def test_no_text_of_ours_shows_a_pin(text: str) -> None:
    shown: list[object] = []
    try:
        uri = Pkcs11Uri.parse(text)
        shown += [repr(uri), str(uri), f"{uri}"]
        Pkcs11Uri.configured(text, of="cert")
    except InvalidPkcs11Uri as refused:
        shown += [refused, repr(refused), refused.problem, refused.hint]
    assert shown
    assert not [each for each in shown if PIN in str(each)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"pkcs11:token=a?pin-value={PIN}&x=y", "pkcs11:token=a?pin-value=…"),
        (f"PKCS11:token=a?pin-value={PIN}", "PKCS11:token=a?pin-value=…"),
        (f"pkcs11:token=a;Pin-Value={PIN}", "pkcs11:token=a;Pin-Value=…"),
        (f"pkcs11:token=a?x=y&pin={PIN}", "pkcs11:token=a?x=y&pin=…"),
        ("pkcs11:token=my-pin?x=y", "pkcs11:token=my-pin?x=y"),
        ("/etc/pin-value=1", "/etc/pin-value=1"),
    ],
)
def test_a_uri_can_be_shown_before_it_is_known_to_be_one(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_what_is_shown_for_a_pin_is_never_taken_for_one() -> None:
    shown = str(Pkcs11Uri.parse(f"pkcs11:token=a?pin-value={PIN}"))
    with pytest.raises(InvalidPkcs11Uri, match="must be encoded"):
        Pkcs11Uri.parse(shown)


def test_a_uri_is_known_by_its_scheme_in_any_case() -> None:
    assert is_one("pkcs11:")
    assert is_one("PKCS11:token=a")
    assert not is_one("/pkcs11:")


def test_a_uri_is_written_from_the_library_down_and_its_id_whole() -> None:
    text = "pkcs11:id=ab%00;type=cert;token=a%20b%3B+;slot-id=0;library-version=3?pin-source=/a"
    assert str(Pkcs11Uri.parse(text)) == (
        "pkcs11:library-version=3.0;slot-id=0;token=a%20b%3B%2B;type=cert;id=%61%62%00"
        "?pin-source=%2Fa"
    )


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
OTHERS: dict[str, st.SearchStrategy[Any]] = {
    "library_version": st.tuples(st.integers(0, 255), st.integers(0, 255)),
    "slot_id": st.integers(0, 2**64 - 1),
    "type": st.sampled_from(TYPES),
    "id": st.binary(max_size=40),
    "pin_source": TEXTS.filter(bool),
}
# Not written as they are read: a PIN, and what may be one.
HIDDEN = ("pin_value", "unknown_path", "unknown_query")
URIS = st.builds(
    Pkcs11Uri,
    **{
        each.name: st.none() | OTHERS.get(each.name, TEXTS)
        for each in fields(Pkcs11Uri)
        if each.name not in HIDDEN
    },
)


@settings(deadline=None)
@given(URIS)
def test_a_uri_survives_being_written_and_read(uri: Pkcs11Uri) -> None:
    text = str(uri)
    assert text.isascii()
    assert Pkcs11Uri.parse(text) == uri


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("pkcs11:tokenidpvalurc-=;?&%2f0", max_size=60))
def test_any_text_is_a_uri_or_is_refused_as_none(text: str) -> None:
    for given_text in (text, f"pkcs11:{text}"):
        try:
            uri = Pkcs11Uri.parse(given_text)
        except InvalidPkcs11Uri:
            continue
        assert is_one(given_text)
        if not any(getattr(uri, name) for name in HIDDEN):
            assert Pkcs11Uri.parse(str(uri)) == uri
