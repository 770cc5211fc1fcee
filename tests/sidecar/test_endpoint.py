"""The container endpoint: the token it wants, the document it gives, the errors that SDKs read."""

import json
import re

import pytest

from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.renewal.problems import Problem
from rolesanywhere_sidecar.serving.bearer import BearerToken
from rolesanywhere_sidecar.serving.endpoint import ContainerEndpoint
from rolesanywhere_sidecar.serving.exchange import Reply
from tests.sidecar.asking import an_ask
from tests.support.sessions import SECRET_ACCESS_KEY, SESSION_TOKEN, some_credentials

TOKEN = "T" * 43


def an_endpoint(
    *,
    token: str | None = TOKEN,
    held: Credentials | None = None,
    problem: Problem | None = None,
) -> ContainerEndpoint:
    return ContainerEndpoint(
        token=None if token is None else BearerToken(token),
        current=lambda: held,
        problem=lambda: problem,
    )


def get(endpoint: ContainerEndpoint, **headers: str) -> Reply:
    return endpoint.answer(an_ask("/v1/credentials", **headers))


def error_of(reply: Reply) -> dict[str, str]:
    document: dict[str, str] = json.loads(reply.body)
    return document


def test_the_raw_token_opens() -> None:
    reply = get(an_endpoint(held=some_credentials()), Authorization=TOKEN)
    assert (reply.status, reply.content_type) == (200, "application/json")
    assert json.loads(reply.body) == {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": "2026-03-01T12:00:00Z",
        "AccessKeyId": "ASIAEXAMPLE000000001",
        "SecretAccessKey": SECRET_ACCESS_KEY,
        "Token": SESSION_TOKEN,
        "Expiration": "2026-03-01T13:00:00Z",
        "AccountId": "111122223333",
    }


def test_every_value_is_a_text_and_times_are_whole_seconds_with_a_z() -> None:
    document = json.loads(get(an_endpoint(held=some_credentials()), Authorization=TOKEN).body)
    assert all(isinstance(value, str) and value for value in document.values())
    for name in ("Expiration", "LastUpdated"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document[name])


def test_no_token_is_a_401_that_says_what_to_set() -> None:
    reply = get(an_endpoint(held=some_credentials()))
    assert reply.status == 401
    assert "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" in error_of(reply)["message"]


@pytest.mark.parametrize(
    "wrong", ["", "T", TOKEN + "\n", f"Bearer {TOKEN}", TOKEN.lower(), "\udcff"]
)
def test_a_wrong_token_is_a_403_that_does_not_repeat_it(wrong: str) -> None:
    reply = get(an_endpoint(held=some_credentials()), Authorization=wrong)
    assert reply.status == 403
    assert error_of(reply)["code"] == "TokenWrong"
    assert TOKEN not in reply.body


def test_an_error_has_both_spellings_that_sdks_read() -> None:
    error = error_of(get(an_endpoint()))
    assert error["code"] == error["Code"]
    assert error["message"] == error["Message"]


def test_before_the_first_session_it_is_503_never_a_200_with_blanks() -> None:
    reply = get(an_endpoint(held=None), Authorization=TOKEN)
    assert (reply.status, error_of(reply)["code"]) == (503, "NotReady")


def test_after_a_failure_the_503_says_why() -> None:
    endpoint = an_endpoint(problem=Problem("AccessDenied", "the role trusts another anchor"))
    error = error_of(get(endpoint, Authorization=TOKEN))
    assert (error["code"], error["message"]) == ("AccessDenied", "the role trusts another anchor")


def test_a_stranger_does_not_learn_whether_there_are_credentials() -> None:
    assert get(an_endpoint(held=None)) == get(an_endpoint(held=some_credentials()))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_any_method_but_get_and_head_is_405(method: str) -> None:
    endpoint = an_endpoint(held=some_credentials())
    reply = endpoint.answer(an_ask("/v1/credentials", method=method, Authorization=TOKEN))
    assert (reply.status, reply.headers) == (405, {"Allow": "GET, HEAD"})


@pytest.mark.parametrize("presented", ["", "None", TOKEN])
def test_without_a_token_file_it_explains_itself_and_never_serves(presented: str) -> None:
    endpoint = an_endpoint(token=None, held=some_credentials())
    reply = get(endpoint, Authorization=presented)
    assert reply.status == 404
    assert "ROLESANYWHERE_TOKEN_FILE" in error_of(reply)["message"]
    assert SECRET_ACCESS_KEY not in reply.body


def test_a_reply_does_not_print_its_body() -> None:
    reply = get(an_endpoint(held=some_credentials()), Authorization=TOKEN)
    assert SECRET_ACCESS_KEY not in repr(reply)
