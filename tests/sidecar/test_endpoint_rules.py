"""The rules that SDKs impose on a credential endpoint, one after the other, at the front door.

Each was learned from an SDK that breaks where it is not kept. What only a process can show (time,
files, starting) is in tests/integration/test_endpoint_rules.py; docs/sdks.md has the SDKs.
"""

import asyncio
import hmac
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_contract import names
from rolesanywhere_contract.arns import RoleArn
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.renewal.broker import Broker
from rolesanywhere_sidecar.renewal.pacing import START_SPREAD
from rolesanywhere_sidecar.serving.bearer import BearerToken
from rolesanywhere_sidecar.serving.endpoint import ContainerEndpoint
from rolesanywhere_sidecar.serving.exchange import Reply
from rolesanywhere_sidecar.serving.front import Endpoint, FrontDoor
from rolesanywhere_sidecar.serving.imds import Imds, SessionTokens
from tests.sidecar.asking import an_ask
from tests.support.clocks import FakeClock
from tests.support.sessions import ScriptedSource, some_credentials

GOLDEN = Path(__file__).parents[1] / "operator" / "golden"

BEARER = "T" * 43
CONTAINER = "/v1/credentials"
TOKEN_PATH = "/latest/api/token"
TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
ROLES = "/latest/meta-data/iam/security-credentials/"
DOCUMENT = f"{ROLES}app+role=x"
REGION = "/latest/meta-data/placement/region"
ZONE = "/latest/meta-data/placement/availability-zone"
PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"}
METADATA = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
IDENTITY = "/latest/dynamic/instance-identity/document"


@dataclass
class Door:
    """A front door, and a client that knows how to knock; ``held`` is what can be served."""

    held: Credentials | None = field(default_factory=some_credentials)
    imds: bool = True
    clock: FakeClock = field(default_factory=FakeClock)
    seen: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        metadata = Imds(
            role=RoleArn.parse("arn:aws:iam::111122223333:role/team/app+role=x"),
            region="eu-west-1",
            tokens=SessionTokens(key=b"k" * 32, monotonic=self.clock.monotonic),
            current=self.current,
        )
        self.front = FrontDoor(
            port=9911,
            container=ContainerEndpoint(
                token=BearerToken(BEARER), current=self.current, problem=lambda: None
            ),
            imds=metadata if self.imds else None,
            observe=lambda endpoint, status: self.seen.append((endpoint, status)),
        )

    def current(self) -> Credentials | None:
        return self.held

    def knock(
        self, target: str, *, method: str = "GET", host: str = "127.0.0.1:9911", **headers: str
    ) -> Reply:
        return self.front.answer(an_ask(target, method=method, host=host, **headers))

    def container(self, target: str = CONTAINER, **more: Any) -> Reply:
        return self.knock(target, Authorization=BEARER, **more)

    def token(self, ttl: str = "21600", target: str = TOKEN_PATH, **headers: str) -> Reply:
        return self.knock(target, method="PUT", **{TTL: ttl, **headers})

    def metadata(self, target: str = DOCUMENT, **more: Any) -> Reply:
        return self.knock(target, **{TOKEN: self.token().body, **more})


EMPTY_401 = Reply(401)


@asynccontextmanager
async def renewing(
    clock: FakeClock, *, life: float
) -> AsyncIterator[tuple[ScriptedSource, Broker]]:
    """A broker at work that holds its first session, of ``life`` seconds."""
    source = ScriptedSource(clock.now, life=life)
    broker = Broker(source, clock=clock, draw=lambda: 0.999)
    task = asyncio.create_task(broker.run())
    await clock.advance(START_SPREAD)
    yield source, broker
    task.cancel()


# Rule 1: answers come from memory, always


async def test_rule_1_a_renewal_that_hangs_delays_nobody() -> None:
    door = Door()
    async with renewing(door.clock, life=3600) as (source, broker):
        source.gate.clear()
        await door.clock.advance(3600 * 0.6)
        assert source.running == 1
        # The door's answer is a plain function: there is nothing in it that could wait.
        door.held = broker.current()
        assert (door.container().status, door.metadata().status) == (200, 200)


# Rule 2: without a good token, exactly 401


@pytest.mark.parametrize("target", [ROLES, DOCUMENT, REGION, IDENTITY, "/latest/", "/latest/none"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("token", [None, "", "invented"])
def test_rule_2_a_missing_or_wrong_token_is_exactly_401_and_empty(
    target: str, method: str, token: str | None
) -> None:
    headers = {} if token is None else {TOKEN: token}
    assert Door().knock(target, method=method, **headers) == EMPTY_401


async def test_rule_2_an_expired_token_is_exactly_401_and_empty() -> None:
    door = Door()
    token = door.token("60").body
    await door.clock.advance(61)
    assert door.knock(DOCUMENT, **{TOKEN: token}) == EMPTY_401


@pytest.mark.parametrize("ttl", ["0", "21601", "", "x"])
def test_rule_2_a_put_is_never_403_or_404_for_who_may_ask(ttl: str) -> None:
    """Either makes the SDKs for Go and JavaScript use version 1 from then on."""
    assert Door().token(ttl).status == 400


# Rule 3: the answer to a PUT says how long


@pytest.mark.parametrize("ttl", ["1", "300", "21600"])
def test_rule_3_a_token_comes_with_its_time_to_live(ttl: str) -> None:
    """The SDKs for Go, Ruby and Rust fail without."""
    assert Door().token(ttl).headers == {TTL: ttl}


# Rule 4: the document is complete, and texts only


def both_documents(door: Door) -> Iterator[dict[str, Any]]:
    yield json.loads(door.container().body)
    yield json.loads(door.metadata().body)


def test_rule_4_both_endpoints_give_all_that_any_sdk_reads_as_texts() -> None:
    for document in both_documents(Door()):
        assert set(document) == {
            "Code", "Type", "LastUpdated", "AccessKeyId", "SecretAccessKey", "Token", "Expiration",
            "AccountId",
        }  # fmt: skip
        assert (document["Code"], document["Type"]) == ("Success", "AWS-HMAC")
        assert all(isinstance(value, str) and value for value in document.values())


def test_rule_4_times_are_whole_seconds_with_a_z() -> None:
    """The SDKs for Rust and JavaScript refuse an offset; botocore's extension a fraction."""
    uneven = some_credentials(issued=some_credentials().issued.replace(microsecond=123456))
    for document in both_documents(Door(held=uneven)):
        for name in ("Expiration", "LastUpdated"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document[name])


def test_rule_4_the_document_follows_the_session() -> None:
    door = Door()
    before = list(both_documents(door))
    door.held = some_credentials(2)
    after = list(both_documents(door))
    assert [each["AccessKeyId"] for each in before] == ["ASIAEXAMPLE000000001"] * 2
    assert [each["AccessKeyId"] for each in after] == ["ASIAEXAMPLE000000002"] * 2


# Rule 5: nothing to serve is an error that each SDK survives


def test_rule_5_without_credentials_the_role_document_is_401_and_empty() -> None:
    """AWS's C runtime aborts the application on any other error there."""
    assert Door(held=None).metadata(DOCUMENT) == EMPTY_401


def test_rule_5_without_credentials_the_role_list_is_503_and_empty() -> None:
    """AWS's C runtime takes the body of an error for a role's name."""
    reply = Door(held=None).metadata(ROLES)
    assert (reply.status, reply.body) == (503, "")


def test_rule_5_without_credentials_the_container_endpoint_says_why_with_503() -> None:
    reply = Door(held=None).container()
    assert (reply.status, json.loads(reply.body)["code"]) == (503, "NotReady")


@pytest.mark.parametrize("target", [ROLES, DOCUMENT, CONTAINER, "/latest/meta-data/iam/info"])
def test_rule_5_without_credentials_nothing_that_needs_them_is_200(target: str) -> None:
    door = Door(held=None)
    assert door.metadata(target, Authorization=BEARER).status >= 400


@pytest.mark.parametrize(
    "target", ["/", "/latest/nothing", f"{ROLES}nobody", "/2021-03-23/api/token", "/nowhere"]
)
def test_rule_5_no_error_of_the_metadata_service_has_a_body(target: str) -> None:
    reply = Door().metadata(target)
    assert (reply.status >= 400, reply.body) == (True, "")


# Rule 6: as much life as can be had


async def served_life(life: float, *, lives: int = 2, failing: bool = False) -> list[float]:
    """How many minutes were left of what was served, asked every minute."""
    door, left = Door(), []
    async with renewing(door.clock, life=life) as (source, broker):
        source.failure = ConnectionError("AWS is away") if failing else None
        for _ in range(int(life / 60) * lives):
            door.held = broker.current()
            reply = door.container()
            if reply.status == 200:
                ends = datetime.fromisoformat(json.loads(reply.body)["Expiration"])
                left.append((ends - door.clock.now()).total_seconds() / 60)
            await door.clock.advance(60)
    return left


@pytest.mark.parametrize("hours", [1, 2])
async def test_rule_6_no_sdk_sees_less_than_its_window_while_renewals_succeed(hours: int) -> None:
    """Fifteen minutes for boto3 and Java; botocore with IMDS guesses an end below twenty-five."""
    left = await served_life(3600 * hours)
    assert len(left) == 120 * hours
    assert min(left) >= 25


async def test_rule_6_the_shortest_session_is_served_with_what_it_has() -> None:
    """Nine hundred seconds are within every window from the start: SDKs ask at each request."""
    left = await served_life(900)
    assert len(left) == 30
    assert 5 <= min(left) < 15


async def test_rule_6_without_aws_a_session_is_served_to_its_last_minute_and_no_longer() -> None:
    left = await served_life(3600, failing=True)
    assert 59 <= len(left) <= 60
    assert 0 < min(left) <= 1


# Rule 7: many shapes of one URL, and no redirect


@pytest.mark.parametrize(
    "target",
    [
        DOCUMENT,
        f"{DOCUMENT}/",  # botocore, with every path
        f"{ROLES}/app+role=x",  # minio-js
        f"{ROLES}app%2Brole%3Dx",  # the SDK for C++
        f"{ROLES}app%2brole%3dx",
        f"/{DOCUMENT}",  # Java v2, AWS CLI v2 before 2.28.3
        f"{DOCUMENT}?",
        f"{DOCUMENT}?a=/b",
        "/1.0/meta-data/iam/security-credentials/app+role=x",
        "/2021-03-23/meta-data/iam/security-credentials/app+role=x",
    ],
)
def test_rule_7_every_shape_of_the_role_documents_url_is_answered(target: str) -> None:
    assert json.loads(Door().metadata(target).body)["Code"] == "Success"


@pytest.mark.parametrize("target", [ROLES, ROLES.rstrip("/"), f"/{ROLES}/", f"{ROLES}?x"])
def test_rule_7_every_shape_of_the_role_lists_url_is_answered(target: str) -> None:
    assert Door().metadata(target).body == "app+role=x"


@pytest.mark.parametrize("target", [ZONE, f"{ZONE}/", f"/{ZONE}"])
def test_rule_7_every_shape_of_the_zones_url_is_answered(target: str) -> None:
    assert Door().metadata(target).body == "eu-west-1a"


@pytest.mark.parametrize(
    "target", ["/v1/credentials/", "//v1//credentials", "/v1/credentials?x=1", "/v1/%63redentials"]
)
def test_rule_7_every_shape_of_the_container_url_is_answered(target: str) -> None:
    assert Door().container(target).status == 200


@pytest.mark.parametrize("target", [ROLES, "//latest", "/latest", CONTAINER, f"{CONTAINER}/", "/"])
def test_rule_7_nobody_is_redirected(target: str) -> None:
    door = Door()
    for reply in (door.metadata(target), door.container(target)):
        assert not 300 <= reply.status < 400
        assert "Location" not in reply.headers


# Rules 8 and 11 to 14 are the injector's, so the golden pods have them


def injected_pods() -> Iterator[dict[str, Any]]:
    for file in sorted(GOLDEN.glob("*/injected.yaml")):
        # This one's author has variables of their own, which stay.
        if file.parent.name != "own-variables-win":
            yield yaml.safe_load(file.read_text())["spec"]


def told_containers() -> Iterator[Mapping[str, str]]:
    """The environment of every container of a golden pod that is told of an endpoint."""
    for spec in injected_pods():
        for container in [*spec["containers"], *spec["initContainers"]]:
            env = {one["name"]: one.get("value", "") for one in container.get("env", [])}
            if env.keys() & {"AWS_CONTAINER_CREDENTIALS_FULL_URI", METADATA}:
                yield env


def test_rule_8_the_metadata_endpoint_is_written_with_its_slash_and_served_with_two() -> None:
    """AWS CLI v2 before 2.28.3 puts a path right behind it; others put a slash between."""
    told = [env[METADATA] for env in told_containers() if METADATA in env]
    assert told
    assert all(address.endswith("/") for address in told)
    assert Door().token(target=f"/{TOKEN_PATH}").status == 200


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "::1", "[::1]",  # AWS's C runtime
     "127.0.0.1:9911", "localhost:9911", "[::1]:9911"],  # everybody else
)  # fmt: skip
def test_rule_9_the_host_may_come_without_its_port_and_without_brackets(host: str) -> None:
    assert Door().container(host=host).status == 200


def test_rule_10_containers_are_given_the_tokens_file_and_never_the_token() -> None:
    """A variable is shown to whoever may read the pod, and could not be replaced."""
    told = list(told_containers())
    assert told
    for env in told:
        assert env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] == names.TOKEN_PATH
        assert "AWS_CONTAINER_AUTHORIZATION_TOKEN" not in env


def test_rule_11_the_sidecar_is_ready_before_any_container_that_is_told_of_it_starts() -> None:
    """Nine SDKs wait for seconds or fail when nobody listens; the one for C++ goes on unsigned."""
    pods = list(injected_pods())
    assert len(pods) > 10
    for spec in pods:
        [place] = [
            place
            for place, container in enumerate(spec["initContainers"])
            if container["name"] == "rolesanywhere-sidecar"
        ]
        assert spec["initContainers"][place]["restartPolicy"] == "Always"
        assert "startupProbe" in spec["initContainers"][place]
        for container in spec["initContainers"][:place]:
            assert METADATA not in {one["name"] for one in container.get("env", [])}


def test_rule_12_who_has_a_proxy_is_told_not_to_use_it_for_loopback() -> None:
    """botocore and the SDKs for Rust would ask it for metadata."""
    proxied = [env for env in told_containers() if env.keys() & PROXIES]
    exceptions = [
        env[name] for env in proxied for name in ("NO_PROXY", "no_proxy") if env.get(name)
    ]
    assert len(exceptions) > len(proxied)
    for listed in exceptions:
        assert listed == "*" or {"127.0.0.1", "localhost"} <= set(listed.split(","))


def test_rule_13_the_container_endpoint_is_named_whole_with_its_token_file() -> None:
    """A relative address beside it would come first for most SDKs, and second for Go's."""
    told = list(told_containers())
    assert len(told) > 10
    for env in told:
        assert re.fullmatch(
            r"http://127\.0\.0\.1:\d+/v1/credentials", env["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        )
        assert env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]
        assert "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" not in env


def test_rule_14_the_metadata_endpoint_has_no_path() -> None:
    """The SDKs for Go, JavaScript and Ruby, and the C runtime, would drop it."""
    told = [env[METADATA] for env in told_containers() if METADATA in env]
    assert told
    for address in told:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)


# What else clients ask


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/latest", "dynamic\nmeta-data"),
        ("/latest/meta-data", "iam/\ninstance-id\nplacement/"),
        ("/latest/meta-data/iam", "info\nsecurity-credentials/"),
        ("/latest/meta-data/placement", "availability-zone\nregion"),
        ("/latest/dynamic", "instance-identity/"),
        ("/latest/dynamic/instance-identity", "document"),
        (REGION, "eu-west-1"),
        (ZONE, "eu-west-1a"),
        ("/latest/meta-data/instance-id", "rolesanywhere"),
    ],
)
@pytest.mark.parametrize("slash", ["", "/"])
def test_metadata_is_text_and_folders_are_listed(target: str, text: str, slash: str) -> None:
    reply = Door().metadata(target + slash)
    assert (reply.status, reply.body, reply.content_type) == (200, text, "text/plain")


def test_every_path_that_a_listing_names_is_there() -> None:
    door = Door()
    waiting = ["/latest/dynamic/", "/latest/meta-data/"]
    leaves: list[str] = []
    while waiting:
        folder = waiting.pop()
        for name in door.metadata(folder).body.split("\n"):
            (waiting if name.endswith("/") else leaves).append(folder + name)
    assert len(leaves) == 6
    assert {door.metadata(leaf).status for leaf in leaves} == {200}


def test_the_identity_document_tells_where_and_claims_no_instance() -> None:
    document = json.loads(Door().metadata(IDENTITY).body)
    assert document == {
        "accountId": "111122223333",
        "availabilityZone": "eu-west-1a",
        "region": "eu-west-1",
        "version": "2017-09-30",
    }


def test_iam_info_names_a_profile_of_the_roles_account_and_claims_no_id() -> None:
    assert json.loads(Door().metadata("/latest/meta-data/iam/info").body) == {
        "Code": "Success",
        "LastUpdated": "2026-03-01T12:00:00Z",
        "InstanceProfileArn": "arn:aws:iam::111122223333:instance-profile/team/app+role=x",
        "InstanceProfileId": "rolesanywhere",
    }


def test_where_it_is_can_be_asked_before_there_are_credentials() -> None:
    door = Door(held=None)
    assert {door.metadata(target).status for target in (REGION, ZONE, IDENTITY, "/latest")} == {200}


@pytest.mark.parametrize(
    "target", [TOKEN_PATH, ROLES, DOCUMENT, REGION, IDENTITY, "/latest", "/1.0"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST"])
def test_imds_switched_off_is_an_empty_404_for_everything(target: str, method: str) -> None:
    headers = {TTL: "60", TOKEN: Door().token().body}
    assert Door(imds=False).knock(target, method=method, **headers) == Reply(404)


# Who is turned away


FOREIGN = ["Origin", "Sec-Fetch-Site", "X-Forwarded-For", "Forwarded", "Via"]


@pytest.mark.parametrize("header", [*FOREIGN, *(name.lower() for name in FOREIGN)])
@pytest.mark.parametrize("value", ["", "null", "127.0.0.1"])
def test_security_a_request_through_a_browser_or_a_proxy_is_refused_everywhere(
    header: str, value: str
) -> None:
    door = Door()
    token = door.token().body
    for target in (CONTAINER, ROLES, DOCUMENT, REGION, "/nowhere"):
        headers = {"Authorization": BEARER, TOKEN: token, header: value}
        assert door.knock(target, **headers) == EMPTY_401
    assert door.token(**{header: value}) == Reply(403)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:9911", "127.0.0.1:80", "169.254.169.254", "10.0.0.7:9911",
     "127.0.0.1.evil.example", "localhost.", "127.0.0.1:9911, evil.example", "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_security_a_name_rebound_to_loopback_is_refused_everywhere(host: str) -> None:
    door = Door()
    for target in (CONTAINER, DOCUMENT, "/nowhere"):
        assert door.metadata(target, Authorization=BEARER, host=host) == EMPTY_401
    assert door.knock(TOKEN_PATH, method="PUT", host=host, **{TTL: "60"}) == Reply(403)


@pytest.mark.parametrize(
    "method", ["POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "GOT"]
)
@pytest.mark.parametrize("target", [CONTAINER, ROLES, DOCUMENT, REGION, TOKEN_PATH])
def test_security_no_other_method_does_anything(method: str, target: str) -> None:
    reply = Door().metadata(target, method=method, Authorization=BEARER)
    assert (reply.status, reply.body) == (405, "")
    assert reply.headers["Allow"] == ("PUT" if target == TOKEN_PATH else "GET, HEAD")


@pytest.mark.parametrize("target", [CONTAINER, DOCUMENT, TOKEN_PATH])
@pytest.mark.parametrize(
    "header", [{"Content-Length": "1"}, {"Transfer-Encoding": "chunked"}, {"Content-Length": "x"}]
)
def test_security_a_request_with_a_body_is_refused(target: str, header: dict[str, str]) -> None:
    method = "PUT" if target == TOKEN_PATH else "GET"
    headers = {"Authorization": BEARER, TTL: "60", **header}
    assert Door().knock(target, method=method, **headers).status in (401, 403)


@pytest.mark.parametrize(
    "target",
    [f"http://127.0.0.1:9911{CONTAINER}", "http://evil.example/", "*", "", "v1/credentials"],
)
def test_security_a_target_that_is_not_a_path_is_refused(target: str) -> None:
    assert Door().container(target) == EMPTY_401


PIECES = st.sampled_from(
    ["/", "//", "%2F", "%", "%00", "..", "?", "#", "latest", "1.0", "2021-03-23", "meta-data",
     "api", "token", "iam", "security-credentials", "app+role=x", "v1", "credentials",
     "é", "\udcff"]
)  # fmt: skip


@given(
    st.one_of(st.text(), st.lists(PIECES).map("".join)),
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "get"]),
)
def test_security_no_target_at_all_gets_an_answer_without_a_token(target: str, method: str) -> None:
    reply = Door().knock(f"/{target}", method=method)
    assert 400 <= reply.status < 500
    assert reply.headers.get(TTL) is None


def every_kind_of_reply() -> Iterator[Reply]:
    for door in (Door(), Door(held=None), Door(imds=False)):
        for target in (CONTAINER, ROLES, DOCUMENT, REGION, TOKEN_PATH, "/nowhere", "*"):
            for method in ("GET", "HEAD", "PUT", "OPTIONS"):
                for more in ({}, {"Origin": "https://evil.example"}):
                    yield door.metadata(target, method=method, Authorization=BEARER, **more)
                    yield door.knock(target, method=method, **{TTL: "60", **more})


def test_security_no_reply_ever_lets_a_web_page_read_it() -> None:
    for reply in every_kind_of_reply():
        assert not [name for name in reply.headers if name.lower().startswith("access-control-")]


def test_security_both_tokens_are_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[object] = []
    honest = hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return honest(one, other)

    door = Door()
    token = door.token().body
    monkeypatch.setattr(hmac, "compare_digest", watched)
    assert door.knock(CONTAINER, Authorization="T" * 42 + "x").status == 403
    assert len(compared) == 1
    assert door.knock(DOCUMENT, **{TOKEN: token[:-4] + "AAAA"}).status == 401
    assert len(compared) == 2


# Who answered, for metrics


@pytest.mark.parametrize(
    ("target", "method", "headers", "endpoint", "status"),
    [
        (CONTAINER, "GET", {"Authorization": BEARER}, Endpoint.CONTAINER, 200),
        (CONTAINER, "GET", {}, Endpoint.CONTAINER, 401),
        (TOKEN_PATH, "PUT", {TTL: "60"}, Endpoint.IMDS_TOKEN, 200),
        ("/1.0/api/token", "PUT", {TTL: "60"}, Endpoint.IMDS_TOKEN, 403),
        (DOCUMENT, "GET", {}, Endpoint.IMDS, 401),
        (CONTAINER, "GET", {"Origin": "x"}, Endpoint.REFUSED, 401),
        ("/nowhere", "GET", {}, Endpoint.UNKNOWN, 404),
    ],
)
def test_each_answer_is_told_with_one_of_a_few_words(
    target: str, method: str, headers: dict[str, str], endpoint: Endpoint, status: int
) -> None:
    door = Door()
    door.knock(target, method=method, **headers)
    assert door.seen == [(endpoint, status)]


def test_whatever_is_asked_there_are_no_more_words() -> None:
    door = Door()
    for number in range(50):
        door.knock(f"/{number}")
        door.knock(f"/latest/{number}")
        door.knock("/", host=f"{number}.example")
    assert {endpoint for endpoint, _ in door.seen} == {"unknown", "imds", "refused"}
