"""IMDSv2, rule by rule: tokens, the two documents, and what a client must never be told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_contract.arns import RoleArn
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.serving.exchange import Reply
from rolesanywhere_sidecar.serving.imds import Imds, SessionTokens
from tests.sidecar.asking import an_ask
from tests.support.clocks import FakeClock
from tests.support.sessions import some_credentials

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
TOKEN_PATH = "/latest/api/token"
ROLES = "/latest/meta-data/iam/security-credentials"


class Service:
    """A metadata service with a clock, and a client that speaks to it."""

    def __init__(self, *, role: str = "reports", held: Credentials | None = None) -> None:
        self.clock = FakeClock()
        self.held = held
        self.tokens = SessionTokens(key=b"k" * 32, monotonic=self.clock.monotonic)
        self.imds = Imds(
            role=RoleArn.parse(f"arn:aws:iam::111122223333:role/team/{role}"),
            region="eu-west-1",
            tokens=self.tokens,
            current=lambda: self.held,
        )

    def put(self, ttl: str | None = "60", target: str = TOKEN_PATH) -> Reply:
        headers = {} if ttl is None else {TTL: ttl}
        return self.imds.answer(an_ask(target, method="PUT", **headers))

    def get(self, target: str = ROLES, token: str | None = None, method: str = "GET") -> Reply:
        presented = self.put().body if token is None else token
        return self.imds.answer(an_ask(target, method=method, **{TOKEN: presented}))

    def tokenless(self, target: str) -> Reply:
        return self.imds.answer(an_ask(target))


def serving(role: str = "reports") -> Service:
    return Service(role=role, held=some_credentials())


@pytest.mark.parametrize("ttl", ["1", "60", "300", "21600"])
def test_a_put_gets_a_token_and_its_ttl_back(ttl: str) -> None:
    reply = serving().put(ttl)
    assert (reply.status, reply.headers[TTL], reply.content_type) == (200, ttl, "text/plain")
    assert reply.body.isprintable()
    assert len(reply.body) <= 100


@pytest.mark.parametrize(
    "ttl", [None, "", "0", "21601", "-1", "+5", " 5", "5.0", "1e3", "soon", "٣", "9" * 40]
)
def test_a_put_without_a_ttl_from_1_to_21600_is_an_empty_400(ttl: str | None) -> None:
    assert serving().put(ttl) == Reply(400)


def test_no_two_tokens_are_the_same() -> None:
    service = serving()
    assert len({service.put().body for _ in range(50)}) == 50


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_the_token_path_takes_put_alone(method: str) -> None:
    reply = serving().get(TOKEN_PATH, method=method)
    assert (reply.status, reply.headers, reply.body) == (405, {"Allow": "PUT"}, "")


@pytest.mark.parametrize("version", ["2021-03-23", "1.0"])
def test_a_put_to_a_versioned_token_path_is_403(version: str) -> None:
    assert serving().put(target=f"/{version}/api/token") == Reply(403)


def test_the_role_list_is_the_roles_name() -> None:
    reply = serving().get(ROLES)
    assert (reply.status, reply.body, reply.content_type) == (200, "reports", "text/plain")


def test_the_role_document_is_complete() -> None:
    document = json.loads(serving().get(f"{ROLES}/reports").body)
    assert set(document) == {
        "Code", "Type", "LastUpdated", "AccessKeyId", "SecretAccessKey", "Token", "Expiration",
        "AccountId",
    }  # fmt: skip
    assert document["Code"] == "Success"


@pytest.mark.parametrize("target", [ROLES, f"{ROLES}/reports", "/latest/meta-data/anything"])
def test_a_tokenless_get_is_401_and_empty(target: str) -> None:
    assert serving().tokenless(target) == Reply(401)


@pytest.mark.parametrize("token", ["", "x", "A" * 64, "A" * 10_000, "é", "\udcff", "=" * 8, "A==="])
def test_an_invented_token_is_401_and_empty(token: str) -> None:
    assert serving().get(token=token) == Reply(401)


@given(st.text())
def test_no_text_at_all_is_taken_for_a_token(text: str) -> None:
    assert serving().tokens.seconds_left(text) == 0


@given(st.integers(min_value=0, max_value=63), st.sampled_from("ABab01-_"))
def test_one_changed_character_spoils_a_token(place: int, other: str) -> None:
    service = serving()
    token = service.put().body
    changed = token[:place] + other + token[place + 1 :]
    assert (service.get(token=changed).status == 200) is (changed == token)


def test_a_token_of_another_process_is_worth_nothing() -> None:
    elsewhere = SessionTokens(key=b"o" * 32, monotonic=lambda: 0.0)
    assert serving().get(token=elsewhere.issue(60)) == Reply(401)


async def test_a_token_is_good_to_its_last_second_and_not_beyond() -> None:
    service = serving()
    token = service.put("60").body
    await service.clock.advance(59.9)
    assert service.get(token=token).headers[TTL] == "1"
    for later in (0.2, 5, 86_400):
        await service.clock.advance(later)
        assert service.get(token=token) == Reply(401)


def test_setting_the_worlds_clock_neither_ends_nor_prolongs_a_token() -> None:
    service = serving()
    token = service.put().body
    service.clock.wall = service.clock.wall.replace(year=2040)
    assert service.get(token=token).status == 200


@pytest.mark.parametrize(
    "target",
    [f"{ROLES}/", f"/{ROLES}/", f"{ROLES}?x=y",
     "/latest//meta-data/iam/security-credentials"],
)  # fmt: skip
def test_the_role_list_stands_any_slashes(target: str) -> None:
    assert serving().get(target).body == "reports"


@pytest.mark.parametrize("target", ["//latest/api/token", "/latest/api/token/"])
def test_the_token_path_stands_any_slashes(target: str) -> None:
    assert serving().put(target=target).status == 200


@pytest.mark.parametrize(
    "target",
    [f"{ROLES}/app+role=x", f"{ROLES}//app+role=x", f"{ROLES}/app%2Brole%3Dx",
     f"{ROLES}/app%2brole%3dx/"],
)  # fmt: skip
def test_a_roles_name_may_be_percent_encoded(target: str) -> None:
    assert serving(role="app+role=x").get(target).status == 200


@pytest.mark.parametrize(
    "target",
    [f"{ROLES}/other", f"{ROLES}/reports/more", f"{ROLES}/Reports", f"{ROLES}/team/reports",
     "/latest/user-data", "/latest/api", "/latest/meta-data/ami-id", "/1.0/dynamic/fws",
     f"{ROLES}/../security-credentials/reports", f"{ROLES}%2Freports"],
)  # fmt: skip
def test_with_a_token_any_other_path_is_an_empty_404(target: str) -> None:
    reply = serving().get(target)
    assert (reply.status, reply.body) == (404, "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("target", [ROLES, f"{ROLES}/reports"])
def test_metadata_is_for_reading_only(method: str, target: str) -> None:
    reply = serving().get(target, method=method)
    assert (reply.status, reply.headers) == (405, {"Allow": "GET, HEAD"})


def test_head_is_answered_like_get() -> None:
    assert serving().get(method="HEAD").status == 200


def test_without_credentials_the_role_list_is_an_empty_503() -> None:
    reply = Service(held=None).get(ROLES)
    assert (reply.status, reply.body) == (503, "")


def test_without_credentials_the_role_document_is_an_empty_401() -> None:
    assert Service(held=None).get(f"{ROLES}/reports") == Reply(401)


def test_a_reply_tells_how_long_the_token_is_still_good() -> None:
    assert serving().get().headers == {TTL: "60"}
