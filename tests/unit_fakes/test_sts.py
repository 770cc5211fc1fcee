"""The pretended STS believes those who hold a session's secret, and nobody else."""

from dataclasses import replace
from datetime import datetime, timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import signer, sts
from tests.fakes.scene import NOW, a_scene
from tests.fakes.sessions import Issued, mint
from tests.fakes.wire import ServiceError, WireRequest
from tests.fakes.world import ACCOUNT, REGION

SCENE = a_scene()
ISSUED = mint(SCENE.granted(SCENE.request()), lambda size: b"\x07" * size)
OTHER = mint(SCENE.granted(SCENE.request()), lambda size: b"\x09" * size)
HOST = f"sts.{REGION}.amazonaws.com"
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
ASK = signer.Draft(path="/", headers=FORM, body=b"Action=GetCallerIdentity&Version=2011-06-15")
XML = {"sts": sts.NAMESPACE}


def asked(
    *,
    by: Issued = ISSUED,
    at: datetime = NOW,
    region: str = REGION,
    service: str = "sts",
    draft: signer.Draft = ASK,
) -> WireRequest:
    return signer.with_secret(draft, by, at=at, region=region, host=HOST, service=service)


def verdict(request: WireRequest, *, at: datetime = NOW) -> Issued | ServiceError:
    return sts.verify(request, [OTHER, ISSUED], REGION, at)


def refusal(request: WireRequest, *, at: datetime = NOW) -> str:
    found = verdict(request, at=at)
    assert isinstance(found, ServiceError), f"believed: {found}"
    return found.code


def test_the_holder_of_the_secret_is_believed() -> None:
    assert verdict(asked()) is ISSUED
    assert verdict(asked(by=OTHER)) is OTHER


def test_the_question_may_be_in_the_query() -> None:
    query = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
    assert verdict(asked(draft=signer.Draft(method="GET", path="/", query=query))) is ISSUED


def test_a_wrong_secret_is_refused() -> None:
    assert refusal(asked(by=replace(ISSUED, secret_access_key="x" * 40))) == "SignatureDoesNotMatch"


def test_an_unknown_key_or_token_is_refused() -> None:
    assert refusal(asked(by=replace(ISSUED, access_key_id="ASIAX"))) == "InvalidClientTokenId"
    assert refusal(asked(by=replace(ISSUED, session_token="x"))) == "InvalidClientTokenId"


def test_the_key_of_one_session_with_the_token_of_another_is_refused() -> None:
    torn = replace(ISSUED, session_token=OTHER.session_token)
    assert refusal(asked(by=torn)) == "InvalidClientTokenId"


def test_a_session_ends() -> None:
    end = ISSUED.session.expires
    last = end - timedelta(seconds=1)
    assert verdict(asked(at=last), at=last) is ISSUED
    assert refusal(asked(at=end), at=end) == "ExpiredToken"


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_clock_may_not_be_far_off(seconds: int) -> None:
    assert refusal(asked(at=NOW + timedelta(seconds=seconds))) == "SignatureDoesNotMatch"


def test_the_scope_must_be_of_sts_and_this_region() -> None:
    assert refusal(asked(region="us-east-1")) == "SignatureDoesNotMatch"
    assert refusal(asked(service="rolesanywhere")) == "SignatureDoesNotMatch"


def test_an_unsigned_question_is_refused() -> None:
    request = asked()
    headers = tuple(pair for pair in request.headers if pair[0] != "Authorization")
    assert refusal(replace(request, headers=headers)) == "MissingAuthenticationToken"


def test_only_one_question_is_answered() -> None:
    assert refusal(asked(draft=replace(ASK, body=b"Action=GetSessionToken"))) == "InvalidAction"
    assert refusal(asked(draft=replace(ASK, path="/elsewhere"))) == "InvalidAction"


def test_one_flipped_bit_anywhere_is_refused() -> None:
    request = asked()

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(header=st.integers(-1, len(request.headers) - 1), where=st.integers(0, 10**6),
           bit=st.integers(0, 7))  # fmt: skip
    def one_flip_is_refused(header: int, where: int, bit: int) -> None:
        refusal(flip(request, header, where, bit))

    one_flip_is_refused()


def flip(request: WireRequest, header: int, where: int, bit: int) -> WireRequest:
    """One bit of a header's value, or of the body for -1, turned over."""
    if header < 0:
        return replace(request, body=_flipped(request.body, where, bit))
    name, value = request.headers[header]
    changed = _flipped(value.encode("latin-1"), where, bit).decode("latin-1")
    headers = (*request.headers[:header], (name, changed), *request.headers[header + 1 :])
    return replace(request, headers=headers)


def _flipped(octets: bytes, where: int, bit: int) -> bytes:
    at = where % len(octets)
    return octets[:at] + bytes([octets[at] ^ (1 << bit)]) + octets[at + 1 :]


def test_the_answer_says_who_it_is() -> None:
    answer = ElementTree.fromstring(sts.identity_xml(ISSUED, "id-1"))  # noqa: S314 - our own
    result = {each.tag.partition("}")[2]: each.text for each in answer[0]}
    assert result == {
        "UserId": ISSUED.session.assumed_role_id,
        "Account": ACCOUNT,
        "Arn": ISSUED.session.assumed_role_arn,
    }


def test_an_error_is_xml_whatever_its_words() -> None:
    text = sts.error_xml(ServiceError(403, "Code", "a < b & c"), "id-1")
    answer = ElementTree.fromstring(text)  # noqa: S314 - our own
    assert answer.findtext("sts:Error/sts:Message", namespaces=XML) == "a < b & c"
