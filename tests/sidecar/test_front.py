"""Who is turned away at the loopback port, and where the others come out."""

import json
import logging

import pytest

from rolesanywhere_contract.arns import RoleArn
from rolesanywhere_sidecar.serving.bearer import BearerToken
from rolesanywhere_sidecar.serving.endpoint import ContainerEndpoint
from rolesanywhere_sidecar.serving.exchange import Reply
from rolesanywhere_sidecar.serving.front import FrontDoor
from rolesanywhere_sidecar.serving.imds import Imds, SessionTokens
from tests.fakes.world import ROLE_ARN
from tests.sidecar.asking import an_ask
from tests.support.sessions import some_credentials

TOKEN = "T" * 43
CREDENTIALS = "/v1/credentials"
IMDS_TOKEN = "/latest/api/token"
ROLE = "/latest/meta-data/iam/security-credentials/reports"


def a_door(*, imds: bool = True) -> FrontDoor:
    metadata = Imds(
        role=RoleArn.parse(ROLE_ARN),
        region="eu-west-1",
        tokens=SessionTokens(key=b"k" * 32, monotonic=lambda: 0.0),
        current=some_credentials,
    )
    container = ContainerEndpoint(
        token=BearerToken(TOKEN), current=some_credentials, problem=lambda: None
    )
    return FrontDoor(port=9911, container=container, imds=metadata if imds else None)


def get(target: str = CREDENTIALS, **headers: str) -> Reply:
    return a_door().answer(an_ask(target, Authorization=TOKEN, **headers))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:9911", "localhost", "localhost:9911", "LocalHost:9911", "::1",
     "[::1]", "[::1]:9911"],
)  # fmt: skip
def test_every_name_of_loopback_is_welcome_with_and_without_the_port(host: str) -> None:
    assert get(host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:9911", "127.0.0.1:80", "127.0.0.1.evil.example",
     "169.254.169.254", "10.0.0.7:9911", "localhost.", "127.0.0.1:9911@evil.example"],
)  # fmt: skip
def test_a_name_rebound_to_loopback_is_turned_away(host: str) -> None:
    assert get(host=host) == Reply(401)


@pytest.mark.parametrize(
    "header", ["Origin", "X-Forwarded-For", "Forwarded", "Via", "Sec-Fetch-Site", "origin"]
)
@pytest.mark.parametrize("target", [CREDENTIALS, ROLE])
def test_what_a_browser_or_a_proxy_brought_is_turned_away(header: str, target: str) -> None:
    assert get(target, **{header: ""}) == Reply(401)


def test_a_forwarded_put_gets_no_metadata_token() -> None:
    ask = an_ask(
        IMDS_TOKEN,
        method="PUT",
        **{"X-aws-ec2-metadata-token-ttl-seconds": "60", "X-Forwarded-For": "10.0.0.1"},
    )
    assert a_door().answer(ask) == Reply(403)


@pytest.mark.parametrize(
    "headers", [{"Content-Length": "1"}, {"Transfer-Encoding": "chunked"}], ids=str
)
def test_a_request_with_a_body_is_turned_away(headers: dict[str, str]) -> None:
    assert get(**headers) == Reply(401)


def test_a_body_of_nothing_is_no_body() -> None:
    assert get(**{"Content-Length": "0"}).status == 200


@pytest.mark.parametrize("target", ["http://127.0.0.1:9911/v1/credentials", "*", ""])
def test_a_target_that_is_not_a_path_is_turned_away(target: str) -> None:
    assert get(target) == Reply(401)


@pytest.mark.parametrize(
    "target",
    [CREDENTIALS, "/v1/credentials/", "//v1//credentials", "/v1/credentials?x=1",
     "/v1/%63redentials"],
)  # fmt: skip
def test_slashes_queries_and_encoding_make_no_difference(target: str) -> None:
    assert json.loads(get(target).body)["Code"] == "Success"


@pytest.mark.parametrize(
    "target", ["/", "/v1", "/v1/credentials/more", "/v2/credentials", "/livez"]
)
def test_any_other_path_is_an_empty_404(target: str) -> None:
    assert get(target) == Reply(404)


def test_both_endpoints_are_behind_the_one_door() -> None:
    door = a_door()
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = door.answer(an_ask(IMDS_TOKEN, method="PUT", **headers)).body
    document = door.answer(an_ask(ROLE, **{"X-aws-ec2-metadata-token": token})).body
    assert json.loads(document) == json.loads(get().body)


def test_imds_switched_off_is_an_empty_404() -> None:
    door = a_door(imds=False)
    assert door.answer(an_ask(IMDS_TOKEN, method="PUT")) == Reply(404)
    assert door.answer(an_ask(ROLE)) == Reply(404)


def test_whoever_is_turned_away_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    door = a_door()
    with caplog.at_level(logging.DEBUG):
        for number in range(50):
            door.answer(an_ask(CREDENTIALS, host=f"evil{number}.example"))
            door.answer(an_ask(CREDENTIALS, Origin="https://evil.example"))
    assert [vars(one)["problem"] for one in caplog.records] == [
        "the Host header is not a loopback name",
        "the Origin header is present",
    ]
