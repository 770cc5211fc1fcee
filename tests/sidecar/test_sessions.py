"""What CreateSession is asked, and what is made of every kind of answer."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import failures
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.failures import InvalidReply, ServiceFailure
from rolesanywhere_sidecar.identities.identity import assemble
from rolesanywhere_sidecar.service.sessions import (
    Reply,
    draft,
    fit_session_name,
    host_header,
    read_reply,
)
from rolesanywhere_sidecar.signing import KeyKind
from tests.fakes.pki import Authority
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
SECRETS = {
    "accessKeyId": "ASIAEXAMPLE",
    "secretAccessKey": "s3cret-s3cret",
    "sessionToken": "t0ken-t0ken",
    "expiration": "2026-03-14T10:26:53Z",
}


def settings(**more: str) -> Settings:
    return Settings.from_env(
        {
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
            "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
            "ROLESANYWHERE_CERTIFICATE": "tls.crt",
            **{f"ROLESANYWHERE_{name.upper()}": text for name, text in more.items()},
        }
    )


def session(**changes: Any) -> dict[str, Any]:
    """A session as the service sends it; ``None`` leaves a field of its credentials out."""
    credentials = {k: v for k, v in {**SECRETS, **changes}.items() if v is not None}
    user = {"arn": "arn:aws:sts::444455556666:assumed-role/reports/2a", "assumedRoleId": "AROA:2a"}
    return {"assumedRoleUser": user, "credentials": credentials}


def read(
    body: object, *, status: int = 201, headers: Mapping[str, str] | None = None
) -> Credentials:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_reply(Reply(status, headers or {}, content), settings(), at=NOW)


def failure(
    body: object, *, status: int = 201, headers: Mapping[str, str] | None = None
) -> ServiceFailure:
    with pytest.raises(ServiceFailure) as caught:
        read(body, status=status, headers=headers)
    return caught.value


def refusal(message: str, *, status: int = 403, code: str = "AccessDeniedException") -> str:
    return str(failure({"message": message}, status=status, headers={"x-amzn-errortype": code}))


# The request


def drafted(**more: str) -> Any:
    leaf = Authority.root(at=NOW).intermediate(at=NOW).leaf(at=NOW)
    identity = assemble(
        [leaf.certificate, *leaf.chain], public_key=leaf.key.public_key(), where="tls.crt"
    )
    return draft(settings(**more), identity, key_kind=KeyKind.ECDSA, invocation_id="id", at=NOW)


def test_arns_go_in_the_query_and_wishes_in_the_body() -> None:
    found = drafted(duration_seconds="900", role_session_name="team-a.web")
    assert re.findall(r"(\w+)=", found.query) == ["profileArn", "roleArn", "trustAnchorArn"]
    assert found.body == b'{"durationSeconds":900,"roleSessionName":"team-a.web"}'


def test_no_session_name_is_sent_unless_one_is_set() -> None:
    assert drafted().body == b'{"durationSeconds":3600}'


def test_the_scope_has_the_signing_region() -> None:
    assert "/eu-west-1/rolesanywhere/" in drafted().credential
    assert "/eu-central-1/rolesanywhere/" in drafted(region="eu-central-1").credential


def test_a_long_session_name_is_cut_before_it_is_sent() -> None:
    sent = json.loads(drafted(role_session_name="n" * 200).body)["roleSessionName"]
    assert len(sent) == 64


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://rolesanywhere.eu-west-1.amazonaws.com", "rolesanywhere.eu-west-1.amazonaws.com"),
        ("https://Example.COM:443", "example.com"),
        ("https://example.com:8443", "example.com:8443"),
        ("http://127.0.0.1:80", "127.0.0.1"),
        ("http://127.0.0.1:443", "127.0.0.1:443"),
        ("http://[::1]:9000", "[::1]:9000"),
        ("https://[::1]", "[::1]"),
    ],
)
def test_the_host_header_has_a_port_only_where_clients_send_one(url: str, host: str) -> None:
    assert host_header(url) == host


@given(st.from_regex(r"[A-Za-z0-9_+=,.@-]{2,300}", fullmatch=True))
def test_a_session_name_always_fits(name: str) -> None:
    fitted = fit_session_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_+=,.@-]{2,64}", fitted)
    assert fit_session_name(fitted) == fitted
    assert (fitted == name) == (len(name) <= 64)


def test_long_names_that_begin_alike_stay_apart() -> None:
    assert fit_session_name("n" * 99 + "a") != fit_session_name("n" * 99 + "b")
    assert fit_session_name("n" * 100) == "n" * 55 + "-4e9d8231"


# The reply


def test_a_session_becomes_credentials() -> None:
    assert read({"credentialSet": [session()], "subjectArn": "arn"}) == Credentials(
        access_key_id="ASIAEXAMPLE",
        secret_access_key="s3cret-s3cret",
        session_token="t0ken-t0ken",
        issued=NOW,
        expires=NOW + timedelta(hours=1),
        account_id="444455556666",
    )


@pytest.mark.parametrize("text", ["2026-03-14T10:26:53.000Z", "2026-03-14T19:26:53+09:00"])
def test_an_expiration_is_read_with_its_zone(text: str) -> None:
    expires = read({"credentialSet": [session(expiration=text)]}).expires
    assert expires == NOW + timedelta(hours=1)
    assert expires.tzinfo is UTC


@pytest.mark.parametrize("user", [None, {}, {"arn": 7}, {"arn": "arn:aws:iam::1:user/x"}, "x"])
def test_without_a_session_arn_the_account_is_the_roles(user: object) -> None:
    found = read({"credentialSet": [{**session(), "assumedRoleUser": user}]})
    assert found.account_id == "111122223333"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is not a JSON object"),
        (b"<html>s3cret-s3cret</html>", "is not a JSON object"),
        (b"\xff\xfe", "is not a JSON object"),
        (b"[" * 100_000, "is not a JSON object"),
        ([session()], "is not a JSON object"),
        ({}, "has an empty credentialSet"),
        ({"credentialSet": []}, "has an empty credentialSet"),
        ({"credentialSet": {"a": "s3cret-s3cret"}}, "has an empty credentialSet"),
        ({"credentialSet": ["s3cret-s3cret"]}, "credentialSet of something else than sessions"),
        ({"credentialSet": [{"credentials": None}]}, "has no credentials"),
        ({"credentialSet": [session(accessKeyId=None)]}, "accessKeyId that is missing or blank"),
        ({"credentialSet": [session(secretAccessKey="")]}, "secretAccessKey that is missing or"),
        ({"credentialSet": [session(sessionToken="  ")]}, "sessionToken that is missing or blank"),
        ({"credentialSet": [session(sessionToken=7)]}, "sessionToken that is missing or blank"),
        ({"credentialSet": [session(expiration=None)]}, "expiration that is missing or blank"),
        ({"credentialSet": [session(expiration="soon")]}, "is not a time with its zone"),
        ({"credentialSet": [session(expiration="2026-03-14T10:26:53")]}, "not a time with its"),
        ({"credentialSet": [session(expiration="0001-01-01T00:00:00+23:00")]}, "not a time with"),
        ({"credentialSet": [session(expiration="0001-01-01T00:00:00Z")]}, "ended at 1-01-01"),
        ({"credentialSet": [session(expiration="2026-03-14T09:26:53Z")]}, "and it is 2026-03-14"),
    ],
)
def test_a_session_that_is_none_is_refused_without_showing_it(body: object, says: str) -> None:
    problem = failure(body)
    assert isinstance(problem, InvalidReply)
    assert problem.retryable
    assert says in str(problem)
    assert not re.search("s3cret|t0ken|ASIA", repr(problem) + str(problem))


@given(st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["credentialSet", "credentials", "message", "code", "expiration"]), inner
    ),
), st.sampled_from([200, 201, 302, 400, 403, 429, 500]))  # fmt: skip
def test_no_answer_whatsoever_is_a_crash(body: object, status: int) -> None:
    assert failure(body, status=status).code


def test_a_reply_never_shows_what_it_carries() -> None:
    assert repr(Reply(201, {"set-cookie": "s3cret"}, b"s3cret")) == "Reply(status=201)"


# Refusals


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDeniedException", failures.AccessDenied),
        (400, "ValidationException", failures.ValidationFailed),
        (404, "ResourceNotFoundException", failures.ResourceNotFound),
        (429, "ThrottlingException", failures.Throttled),
        (400, "ThrottlingException", failures.Throttled),
        (429, "", failures.Throttled),
        (503, "SlowDown", failures.Throttled),
        (500, "InternalServerException", failures.ServiceUnavailable),
        (503, "", failures.ServiceUnavailable),
        (400, "RequestTimeoutException", failures.ServiceUnavailable),
        (403, "UnrecognizedClientException", failures.Rejected),
        (403, "", failures.InvalidReply),
        (302, "", failures.InvalidReply),
    ],
)
def test_each_refusal_has_its_class(status: int, code: str, kind: type[ServiceFailure]) -> None:
    problem = failure({"message": "no"}, status=status, headers={"x-amzn-errortype": code})
    assert type(problem) is kind
    assert f"answered {status}" in str(problem)
    retryable = {"Throttled", "ServiceUnavailable", "InvalidReply"}
    assert problem.retryable == (problem.code in retryable)


def test_every_failure_has_a_code_of_its_own() -> None:
    kinds: list[type[ServiceFailure]] = [ServiceFailure, *ServiceFailure.__subclasses__()]
    assert len({kind.code for kind in kinds}) == len(kinds) == 9


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x-amzn-errortype": "AccessDeniedException:http://internal.amazon.com/x"}, {}),
        ({"x-amzn-errortype": "aws.rolesanywhere#AccessDeniedException"}, {}),
        ({}, {"code": "AccessDeniedException"}),
        ({}, {"__type": "com.amazonaws.rolesanywhere#AccessDeniedException"}),
    ],
)
def test_the_error_type_is_found_where_the_service_may_put_it(
    headers: dict[str, str], body: dict[str, str]
) -> None:
    assert isinstance(failure(body, status=403, headers=headers), failures.AccessDenied)


@pytest.mark.parametrize("member", ["message", "Message"])
def test_the_services_own_words_are_quoted(member: str) -> None:
    problem = failure(
        {member: "Role is\nodd"},
        status=403,
        headers={"x-amzn-errortype": "AccessDeniedException", "x-amzn-requestid": "a-b-1"},
    )
    assert problem.problem == (
        "CreateSession at rolesanywhere.eu-west-1.amazonaws.com answered 403 with"
        " AccessDeniedException: Role is odd (request id a-b-1)"
    )


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("Untrusted Signing Certificate", "add the missing intermediates"),
        ("Invalid signature", "check that the private key is the certificate's"),
        ("Not authorized to set roleSessionName.", "acceptRoleSessionName"),
        (
            "Unable to assume role for arn:aws:iam::1:role/r. Some attributes failed to be mapped"
            " into session tags. Issuer: []; Subject: []; SAN: [DNS/2]",
            "session tags allow letters, digits",
        ),
        ("some attributes fail to be mapped. subject: [CN]", "session tags allow letters"),
        ("Unable to assume role for arn:aws:iam::1:role/r", "trust policy must let rolesanywhere"),
        ("arn:aws:iam::1:role/r is not a role of the profile", "add the role to the profile"),
        ("The certificate has been revoked", "issue a new one"),
        ("The trust anchor is disabled", "enable the trust anchor"),
        ("The certificate has expired", "check the certificate's validity"),
        ("Signature not yet current", "this machine's clock"),
        ("something that nobody has seen", "check trust anchor, profile, the role's trust policy"),
    ],
)
def test_a_well_known_refusal_comes_with_what_to_do(message: str, hint: str) -> None:
    assert hint in refusal(message)


def test_a_long_or_hostile_message_is_cut_and_flattened() -> None:
    text = refusal("A" * 5000 + "\x1b[31m")
    assert len(text) < 700
    assert "…" in text
    assert "\x1b" not in refusal("\x1b[31mred\x00\r\nINFO forged")
    assert "\n" not in refusal("\x1b[31mred\x00\r\nINFO forged")


def test_a_proxys_page_is_said_to_be_none_of_the_services() -> None:
    problem = failure(b"<html>s3cret</html>", status=403, headers={"content-type": "text/html"})
    assert isinstance(problem, InvalidReply)
    assert "answered 403 with something that is not the service's JSON" in str(problem)
    assert "check the endpoint, and any proxy" in str(problem)
    assert "s3cret" not in str(problem)


def test_a_redirect_is_not_followed_and_says_so() -> None:
    problem = failure(b"", status=307, headers={"location": "https://evil.example"})
    assert "a signed request follows no redirect" in str(problem)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("Sat, 14 Mar 2026 09:27:53 GMT", 60.0),
        ("Sat, 14 Mar 2026 09:00:00 GMT", 0.0),
        ("-1", None),
        ("soon", None),
        ("9" * 5000, None),
        ("Mon, 01 Jan 2020 00:00:00 +99999999999999999999", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(text: str, seconds: float | None) -> None:
    assert failure({}, status=429, headers={"retry-after": text}).retry_after == seconds


@pytest.mark.parametrize(
    ("date", "says"),
    [
        ("Sat, 14 Mar 2026 09:16:53 GMT", "clock is 10 minutes ahead of the service's"),
        ("Sat, 14 Mar 2026 09:36:53 GMT", "clock is 10 minutes behind the service's"),
        ("Sat, 14 Mar 2026 09:31:53 GMT", "private key is the certificate's"),
        ("whenever", "private key is the certificate's"),
        ("Mon, 01 Jan 2020 00:00:00 +99999999999999999999", "private key is the certificate's"),
    ],
)
def test_a_clock_that_is_off_is_the_first_suspect(date: str, says: str) -> None:
    headers = {"x-amzn-errortype": "AccessDeniedException", "date": date}
    assert says in str(failure({"message": "Invalid signature"}, status=403, headers=headers))
