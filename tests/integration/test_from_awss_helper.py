"""What a client sees that is pointed from ``aws_signing_helper serve`` to ours: the same documents.

The helper serves IMDS alone. Where we differ on purpose, a test here says so.
"""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.fakes import aws_helper
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.support import clients
from tests.support.ports import free_port
from tests.support.sidecars import a_sidecar, eventually
from tests.support.tools import build_or_skip
from tests.support.workloads import Workload

ROLES: Final = "/latest/meta-data/iam/security-credentials"
TTL: Final = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"

# Each with an implementation of IMDS of its own. awscrt is not among them, because of the helper:
# it takes the helper's token, and asks it nothing more.
WITNESSES: Final = ("boto3", "js-v3", "go-v2", "minio")


@dataclass
class Heard:
    """One answer; names of headers in any case."""

    status: int
    headers: Mapping[str, str]
    text: str


class Service:
    """A metadata service on a port of loopback."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def hear(self, path: str, method: str = "GET", **headers: str) -> Heard:
        url = f"http://127.0.0.1:{self.port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers, allow_redirects=False) as answer,
        ):
            return Heard(answer.status, answer.headers, await answer.text())

    async def get(self, path: str) -> Heard:
        token = await self.hear("/latest/api/token", "PUT", **{TTL: "60"})
        return await self.hear(path, **{"X-aws-ec2-metadata-token": token.text})

    async def listens(self) -> bool:
        try:
            return (await self.hear("/latest/api/token", "PUT", **{TTL: "60"})).status == 200
        except aiohttp.ClientConnectorError:
            return False


@dataclass
class Both:
    """AWS's helper and our ``serve``, side by side, with the same identity and the same AWS."""

    aws: FakeAWS
    theirs: Service
    ours: Service


@pytest.fixture(scope="module")
def helper() -> Path:
    return build_or_skip(aws_helper.find_or_build)


@pytest.fixture
async def both(helper: Path, tmp_path: Path) -> AsyncIterator[Both]:
    root = Authority.root(at=utc_now())
    workload = Workload.below(root, tmp_path)
    async with (
        FakeAWS.start(small_world(root.certificate)) as aws,
        a_sidecar(tmp_path, workload.env(aws.rolesanywhere_url)) as sidecar,
        a_helper(helper, workload, aws) as theirs,
    ):
        await sidecar.until_ready()
        yield Both(aws, theirs, Service(sidecar.port))


@asynccontextmanager
async def a_helper(helper: Path, workload: Workload, aws: FakeAWS) -> AsyncIterator[Service]:
    service = Service(free_port())
    identity = aws_helper.identity_flags(workload.identity, workload.folder)
    async with aws_helper.running(
        helper, "serve", "--port", str(service.port), "--endpoint", aws.rolesanywhere_url,
        "--trust-anchor-arn", TRUST_ANCHOR_ARN, "--profile-arn", PROFILE_ARN,
        "--role-arn", ROLE_ARN, *identity,
    ):  # fmt: skip
        await eventually(service.listens)
        yield service


@pytest.mark.parametrize("name", WITNESSES)
async def test_the_same_client_works_with_either(both: Both, tmp_path: Path, name: str) -> None:
    command = build_or_skip(clients.COMMANDS[name])
    keys = []
    for service in (both.theirs, both.ours):
        env = clients.surroundings(both.aws) | clients.metadata_service(service.port)
        async with clients.started(command, env, folder=tmp_path) as client:
            said = await client.ask()
        assert said.error == ""
        keys.append(said.key)
    assert set(keys) == {issued.access_key_id for issued in both.aws.sessions}


# How each of the values that matter is written, in both.
SHAPES: Final[Mapping[str, str]] = {
    "Code": "Success",
    "Type": "AWS-HMAC",
    "AccessKeyId": r"ASIA[A-Z2-7]{16}",
    "SecretAccessKey": r"[A-Za-z0-9+/]{40}",
    "Token": r"[A-Za-z0-9+/=]{400}",
    "Expiration": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    # The helper adds nanoseconds, at which botocore stumbles.
    "LastUpdated": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z",
}


async def test_the_documents_have_the_same_keys_and_shapes(both: Both) -> None:
    theirs = json.loads((await both.theirs.get(f"{ROLES}/reports")).text)
    ours = json.loads((await both.ours.get(f"{ROLES}/reports")).text)
    # Ours tells the account too: botocore and the SDKs for JavaScript, Rust and Java read it.
    assert ours.pop("AccountId") == "111122223333"
    assert "." not in ours["LastUpdated"]
    for document in (theirs, ours):
        assert set(document) == set(SHAPES)
        assert [name for name in SHAPES if not re.fullmatch(SHAPES[name], document[name])] == []


@pytest.mark.parametrize("slash", ["", "/"])
async def test_role_list_and_token_are_the_same(both: Both, slash: str) -> None:
    for service in (both.theirs, both.ours):
        assert (await service.get(ROLES + slash)).text == "reports"
        token = await service.hear(f"/latest/api/token{slash}", "PUT", **{TTL: "300"})
        assert (token.status, token.headers[TTL]) == (200, "300")


@pytest.mark.parametrize("path", [ROLES, f"{ROLES}/reports"])
async def test_without_a_token_both_say_401(both: Both, path: str) -> None:
    for service in (both.theirs, both.ours):
        assert (await service.hear(path)).status == 401
        assert (await service.hear(path, **{"X-aws-ec2-metadata-token": "x"})).status == 401


async def statuses(both: Both, path: str, method: str = "GET", **headers: str) -> tuple[int, int]:
    """What the helper says, and what we do."""
    theirs, ours = [await each.hear(path, method, **headers) for each in (both.theirs, both.ours)]
    return theirs.status, ours.status


async def test_where_we_differ_we_do_as_ec2_does_or_refuse_what_no_sdk_sends(both: Both) -> None:
    token = "/latest/api/token"
    # A token without a time to live is a bad request to EC2.
    assert await statuses(both, token, "PUT") == (200, 400)
    assert await statuses(both, token, "PUT", **{TTL: "+5"}) == (200, 400)
    # What came through a proxy, or under a foreign name, is refused, and not for a PUT alone.
    assert await statuses(both, token, "PUT", **{TTL: "5", "X-Forwarded-For": "::1"}) == (400, 403)
    assert await statuses(both, token, "PUT", **{TTL: "5", "Host": "evil.example"}) == (200, 403)
    # A role that is not ours is not found, and not our role's name.
    theirs, ours = [await each.get(f"{ROLES}/nobody") for each in (both.theirs, both.ours)]
    assert ((theirs.status, theirs.text), ours.status) == ((200, "reports"), 404)
    # EC2's other paths are there, by GET and by HEAD.
    region = "/latest/meta-data/placement/region"
    theirs, ours = [await each.get(region) for each in (both.theirs, both.ours)]
    assert (theirs.status, ours.status, ours.text) == (404, 200, "eu-west-1")
    # Every answer to a token tells how long it is good, and none may be kept.
    theirs, ours = [await each.get(f"{ROLES}/reports") for each in (both.theirs, both.ours)]
    assert TTL not in theirs.headers
    assert ours.headers[TTL] == "60"
    assert "Cache-Control" not in theirs.headers
    assert ours.headers["Cache-Control"] == "no-store"
