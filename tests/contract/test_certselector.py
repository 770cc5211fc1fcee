"""Cert selectors as AWS's helper documents them: what they say, and what is none."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.certselector import (
    CertSelector,
    InvalidCertSelector,
    checked,
    file_of,
)

SERIAL = "15D19632234BF759A32802C0DA88F9E8AFC8702D"

# Neither what separates pairs, nor what is cut off at a value's ends.
VALUES = st.text(min_size=1, max_size=40).filter(
    lambda text: text == text.strip() and "Key=" not in text
)


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("Key=x509Subject,Value=CN=Subject", CertSelector(subject="CN=Subject")),
        ("Key=x509Issuer,Value=CN=a b,OU=c", CertSelector(issuer="CN=a b,OU=c")),
        (f"Key=x509Serial,Value={SERIAL}", CertSelector(serial=int(SERIAL, 16))),
        (
            f"Key=x509Subject,Value=CN=Subject Key=x509Issuer,Value=CN=Issuer"
            f"  Key=x509Serial,Value={SERIAL} ",
            CertSelector("CN=Subject", "CN=Issuer", int(SERIAL, 16)),
        ),
        ("Key=x509Serial,Value=00:0a:Ff", CertSelector(serial=0xAFF)),
    ],
)
def test_a_selector_is_read_as_the_helper_reads_it(text: str, selector: CertSelector) -> None:
    assert CertSelector.parse(text) == selector
    assert checked(text) == text


def test_a_selector_may_be_json() -> None:
    text = json.dumps(
        [{"Key": "x509Subject", "Value": "CN=Subject"}, {"Key": "x509Serial", "Value": SERIAL}]
    )
    assert CertSelector.parse_json(text) == CertSelector("CN=Subject", None, int(SERIAL, 16))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has '' where Key=<key>,Value=<value> belongs"),
        ("CN=Subject", "has 'CN=Subject' where"),
        ("Key=x509Subject", "has 'Key=x509Subject' where"),
        ("Key=x509subject,Value=a", "has the key 'x509subject'; expected x509Subject, x509Issuer"),
        ("Key=x509Subject,Value=a Key=x509Subject,Value=b", "has the key x509Subject twice"),
        ("Key=x509Subject,Value= Key=x509Serial,Value=1", "has no value for the key x509Subject"),
        ("Key=x509Serial,Value=xyz", "has the serial number 'xyz'; expected hexadecimal"),
        ("Key=x509Serial,Value=-1", "has the serial number '-1'"),
        ("Key=x509Serial,Value=1::2", "has the serial number '1::2'"),
    ],
)
def test_what_is_no_selector_is_said_with_what_is(text: str, says: str) -> None:
    with pytest.raises(InvalidCertSelector) as caught:
        checked(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("asldjf", "is not JSON"),
        ('{"Key": "x509Serial", "Value": "1"}', "is not a JSON list"),
        ("[]", "is empty"),
        ("[1]", "has an entry that is not"),
        ('[{"Key": "x509Serial"}]', "has an entry that is not"),
        ('[{"Key": "x509Serial", "Value": 1}]', "that is no string"),
        ('[{"Key": "x509Serial", "Value": "1"}, {"Key": "x509Serial", "Value": "1"}]', "twice"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_json_that_is_no_selector_is_said_to_be_none(text: str, says: str) -> None:
    with pytest.raises(InvalidCertSelector) as caught:
        CertSelector.parse_json(text)
    assert says in str(caught.value)


def test_a_file_is_named_not_opened() -> None:
    assert file_of(checked("file:///nowhere/selector.json")) == "/nowhere/selector.json"
    assert file_of("Key=x509Serial,Value=1") is None
    with pytest.raises(InvalidCertSelector, match="names no file"):
        checked("file://")


@settings(deadline=None)
@given(VALUES, VALUES, st.integers(min_value=0, max_value=2**160))
def test_whatever_is_written_is_read_back(subject: str, issuer: str, serial: int) -> None:
    pairs = {"x509Subject": subject, "x509Issuer": issuer, "x509Serial": f"{serial:x}"}
    expected = CertSelector(subject, issuer, serial)
    assert CertSelector.parse(" ".join(f"Key={k},Value={v}" for k, v in pairs.items())) == expected
    entries = [{"Key": key, "Value": value} for key, value in pairs.items()]
    assert CertSelector.parse_json(json.dumps(entries)) == expected


@settings(deadline=None)
@given(st.text(max_size=200) | st.text('Keyx509Subjct,Value= []{}":1', max_size=80))
def test_any_text_is_a_selector_or_is_refused_as_none(text: str) -> None:
    for parse in (CertSelector.parse, CertSelector.parse_json):
        try:
            found = parse(text)
        except InvalidCertSelector:
            continue
        assert found != CertSelector()
