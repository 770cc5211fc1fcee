"""Whatever bytes an endpoint sends, reading them ends in credentials or in one of our failures.

And nothing of what stands where secrets belong is ever said again.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.failures import InvalidReply, ServiceFailure
from rolesanywhere_sidecar.service.sessions import Reply, read_reply
from tests.fakes import faults
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN

NOW: Final = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
SETTINGS: Final = Settings.from_env(
    {
        "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
        "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
        "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
        "ROLESANYWHERE_CERTIFICATE": "tls.crt",
    }
)
GOOD: Final = faults.session(expiration="2026-03-14T10:26:53Z").body
SECRETS: Final = (faults.SECRET_ACCESS_KEY, faults.SESSION_TOKEN)

# How long a machine takes that is busy with something else is not what is asked here.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Every header that anybody reads, and what may be in it: HTTP gives Latin-1, and no line ends.
headers = st.dictionaries(
    st.sampled_from(["x-amzn-errortype", "x-amzn-requestid", "retry-after", "date", "location"]),
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")),
)
statuses = st.integers(min_value=100, max_value=599)
odd_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.sampled_from(SECRETS)
    | st.sampled_from([1, 2020, 2026, 9999]).map("{:04}-03-14T10:26:53Z".format),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["accessKeyId", "secretAccessKey", "sessionToken", "expiration", "arn"]),
        inner, max_size=4,
    ),
    max_leaves=8,
)  # fmt: skip


def read(
    body: bytes, *, status: int = 201, headers: dict[str, str] | None = None
) -> Credentials | ServiceFailure:
    """The verdict; anything but these two kinds fails the test by itself."""
    try:
        return read_reply(Reply(status, headers or {}, body), SETTINGS, at=NOW)
    except ServiceFailure as failure:
        return failure


def is_sound(verdict: Credentials | ServiceFailure) -> None:
    """Credentials are usable; a failure is a sentence that can be shown to anybody."""
    if isinstance(verdict, Credentials):
        assert verdict.expires > NOW
        assert verdict.access_key_id.strip()
        assert verdict.secret_access_key.strip()
        assert verdict.session_token.strip()
        return
    said = f"{verdict} {verdict!r} {verdict.__cause__!r} {verdict.hint}"
    assert [secret for secret in SECRETS if secret in said] == []
    assert str(verdict).isprintable()
    assert len(str(verdict)) < 1000
    assert verdict.retry_after is None or verdict.retry_after >= 0


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A good reply, with a piece of it replaced."""
    start = draw(st.integers(0, len(GOOD)))
    end = draw(st.integers(start, len(GOOD)))
    return GOOD[:start] + draw(st.binary(max_size=20)) + GOOD[end:]


@st.composite
def misshapen(draw: st.DrawFn) -> bytes:
    """A good reply, with something else in one of its places."""
    document: Any = json.loads(GOOD)
    session = document["credentialSet"][0]
    places = [(document, "credentialSet"), (session, "credentials"), (session, "assumedRoleUser")]
    places += [(session["credentials"], name) for name in session["credentials"]]
    holder, name = draw(st.sampled_from(places))
    holder[name] = draw(odd_values)
    return json.dumps(document).encode()


def test_the_good_reply_that_is_spoilt_here_is_good() -> None:
    assert isinstance(read(GOOD), Credentials)


@unhurried
@given(statuses, headers, st.binary(max_size=200) | spoilt() | misshapen())
@example(403, {"date": "Mon, 01 Jan 0001 00:00:00 +2359"}, b"{}")
@example(429, {"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359"}, b"{}")
@example(429, {"retry-after": "Mon, 01 Jan 2020 00:00:00 +99999999999999999999"}, b"{}")
def test_no_bytes_whatsoever_crash_the_reader(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    is_sound(read(body, status=status, headers=headers))


@unhurried
@given(spoilt())
def test_a_success_that_was_spoilt_gives_good_credentials_or_none(body: bytes) -> None:
    is_sound(read(body))


@unhurried
@given(misshapen())
def test_a_success_of_the_wrong_shape_gives_good_credentials_or_none(body: bytes) -> None:
    is_sound(read(body))


@pytest.mark.parametrize("length", range(0, len(GOOD), 7))
def test_a_success_that_breaks_off_anywhere_is_none(length: int) -> None:
    verdict = read(GOOD[:length])
    assert isinstance(verdict, InvalidReply)
    is_sound(verdict)


@pytest.mark.parametrize(
    "body",
    [
        b'{"credentialSet":' + b"9" * 5000 + b"}",
        b'{"credentialSet":1e999}',
        b'{"credentialSet":NaN}',
        b'{"credentialSet":[NaN]}',
        b'{"credentialSet":[{"credentials":{"expiration":-Infinity}}]}',
        b"[" * 50_000 + b"]" * 50_000,
        b'{"credentialSet":' + b'[{"credentials":' * 20_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"\xff\xfe{\x00}\x00",
        b'"\\ud800"',
        b'{"credentialSet":"\\ud800"}',
        GOOD + b"\x00",
        GOOD + GOOD,
        GOOD.replace(b"2026-03-14T10:26:53Z", b"\\ud800"),
        GOOD.replace(b"2026-03-14T10:26:53Z", b"9999-12-31T23:59:59-23:59"),
        GOOD.replace(b"2026-03-14T10:26:53Z", b"2026-03-14T10:26:53"),
        GOOD[:-1] + b',"credentialSet":[]}',
        GOOD[:-1] + b',"credentialSet":null}',
    ],
    ids=range(18),
)
def test_odd_json_is_no_session(body: bytes) -> None:
    verdict = read(body)
    assert isinstance(verdict, InvalidReply)
    is_sound(verdict)


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + GOOD,
        b" \r\n" + GOOD + b"\n",
        GOOD[:-1] + b',"unheard of":' + b"[" * 200 + b"]" * 200 + b"}",
        GOOD[:-1] + b',"unheard of":1e999,"and":NaN,"more":"\\ud800"}',
        b'{"credentialSet":[],' + GOOD[1:],
    ],
    ids=["a byte order mark", "blanks", "nesting", "odd numbers", "the last of two keys"],
)
def test_what_is_odd_beside_a_session_does_not_spoil_it(body: bytes) -> None:
    verdict = read(body)
    assert isinstance(verdict, Credentials)
    assert verdict.expires == NOW + timedelta(hours=1)


@pytest.mark.parametrize("retry_after", [None, "7"])
@pytest.mark.parametrize("status", [400, 429, 503])
@pytest.mark.parametrize(
    "code",
    [
        "ThrottlingException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "SlowDown",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "PriorRequestNotComplete",
        "EC2ThrottledException",
        "TransactionInProgressException",
    ],
)
def test_every_code_by_which_aws_says_too_fast_is_throttling(
    code: str, status: int, retry_after: str | None
) -> None:
    """The codes are those that AWS's SDKs treat so ("retry behavior", SDKs and Tools guide)."""
    extra = {} if retry_after is None else {"retry-after": retry_after}
    verdict = read(
        b'{"message":"slow"}', status=status, headers={"x-amzn-errortype": code, **extra}
    )
    assert isinstance(verdict, ServiceFailure)
    assert (verdict.code, verdict.retryable) == ("Throttled", True)
    assert verdict.retry_after == (None if retry_after is None else 7)
