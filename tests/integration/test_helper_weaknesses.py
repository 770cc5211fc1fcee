"""Known weaknesses of AWS's helper, seen in the version that our tests build, and ours beside it.

``docs/from-aws-signing-helper.md`` names these tests. One that fails after an update of the helper
may be good news: then the page has to say so.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from tests.fakes import aws_helper, faults, pki
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import LEAF, Authority, Identity, KeyForm
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.support.commands import Outcome, finished
from tests.support.ports import free_port
from tests.support.sidecars import eventually
from tests.support.tools import build_or_skip

ROOT = Authority.root(at=utc_now())
ROLES = "/latest/meta-data/iam/security-credentials"


@pytest.fixture(scope="module")
def helper() -> Path:
    return build_or_skip(aws_helper.find_or_build)


@pytest.fixture
async def aws() -> AsyncIterator[FakeAWS]:
    async with FakeAWS.start(small_world(ROOT.certificate, create_session_rate=100)) as started:
        yield started


def whose(aws: FakeAWS) -> list[str]:
    return [
        "--endpoint", aws.rolesanywhere_url, "--trust-anchor-arn", TRUST_ANCHOR_ARN,
        "--profile-arn", PROFILE_ARN, "--role-arn", ROLE_ARN,
    ]  # fmt: skip


async def ours(*arguments: str) -> Outcome:
    env = {"PATH": os.environ.get("PATH", "")}
    return await finished(sys.executable, "-m", "rolesanywhere_sidecar", *arguments, env=env)


async def both(helper: Path, aws: FakeAWS, *flags: str) -> tuple[Outcome, Outcome]:
    """What the helper's ``credential-process`` leaves, and what ours does."""
    words = ["credential-process", *flags, *whose(aws)]
    return await aws_helper.run(helper, *words), await ours(*words)


@dataclass(frozen=True, slots=True)
class Served:
    """The helper's ``serve``, and a client that has a token."""

    process: asyncio.subprocess.Process
    url: str
    client: aiohttp.ClientSession

    async def token(self) -> str:
        url = f"{self.url}/latest/api/token"
        async with self.client.put(url) as answer:
            return await answer.text()

    async def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        told = {"X-aws-ec2-metadata-token": await self.token(), **headers}
        async with self.client.request(method, self.url + path, headers=told) as answer:
            return answer.status, await answer.text()

    async def key(self) -> str:
        """The access key that is served with 200 and as a success; it may be empty."""
        status, text = await self.ask(f"{ROLES}/reports")
        document = json.loads(text)
        assert (status, document["Code"]) == (200, "Success")
        return str(document["AccessKeyId"])


@asynccontextmanager
async def serving(helper: Path, aws: FakeAWS, folder: Path) -> AsyncIterator[Served]:
    port = free_port()
    flags = aws_helper.identity_flags(ROOT.leaf(at=utc_now()), folder)
    words = ["serve", "--port", str(port), *flags, *whose(aws)]
    async with (
        aws_helper.running(helper, *words) as process,
        aiohttp.ClientSession() as client,
    ):
        served = Served(process, f"http://127.0.0.1:{port}", client)

        async def listens() -> bool:
            try:
                return await served.token() != ""
            except aiohttp.ClientConnectorError:
                return False

        await eventually(listens, what=lambda: "the helper")
        yield served


def soon_over() -> faults.Answer:
    """A session that the helper renews whenever it is asked: less than ten minutes are left."""
    ends = utc_now() + timedelta(minutes=8)
    return faults.session(expiration=ends.strftime("%Y-%m-%dT%H:%M:%SZ"))


async def test_the_helper_serves_nothing_as_a_success_when_a_renewal_fails(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    aws.faults.next(soon_over())
    aws.faults.always(faults.refused())
    async with serving(helper, aws, tmp_path) as served:
        assert await served.key() == ""


async def test_the_helper_starts_without_a_session_as_if_it_had_one(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    aws.faults.always(faults.refused())
    async with serving(helper, aws, tmp_path) as served:
        assert (await served.ask(ROLES))[0] == 200
        assert await served.key() == ""


async def test_the_helper_asks_aws_once_for_each_who_asks_it(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    aws.faults.always(soon_over())
    async with serving(helper, aws, tmp_path) as served:
        await asyncio.gather(*(served.key() for _ in range(10)))
    assert len(aws.requests) == 11


async def test_the_helper_keeps_more_tokens_than_it_means_to(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    """It means to keep 256, and to let the earliest go."""
    async with serving(helper, aws, tmp_path) as served:
        tokens = [await served.token() for _ in range(400)]
        for token in tokens:
            assert (await served.ask(ROLES, **{"X-aws-ec2-metadata-token": token}))[0] == 200


async def test_the_helper_answers_under_any_name_and_knows_no_head_health_or_metrics(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    async with serving(helper, aws, tmp_path) as served:
        page = {"Host": "evil.example", "Origin": "http://evil.example", "X-Forwarded-For": "::1"}
        assert (await served.ask(f"{ROLES}/reports", **page))[0] == 200
        assert (await served.ask(f"{ROLES}/reports", "HEAD"))[0] == 405
        for path in ("/readyz", "/livez", "/health", "/metrics"):
            assert (await served.ask(path))[0] == 404


async def test_the_helper_dies_in_a_request_of_a_file_that_is_half_written(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    aws.faults.always(soon_over())
    async with serving(helper, aws, tmp_path) as served:
        key = tmp_path / "tls.key"
        key.write_bytes(key.read_bytes()[:100])
        with pytest.raises(aiohttp.ClientError):
            await served.key()
        assert await asyncio.wait_for(served.process.wait(), 10) == 1


async def test_the_helper_signs_with_the_algorithm_that_it_started_with(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    aws.faults.next(soon_over())
    async with serving(helper, aws, tmp_path) as served:
        aws_helper.identity_flags(ROOT.leaf(at=utc_now(), kind="rsa-2048"), tmp_path)
        assert await served.key() == ""
    assert aws.requests[-1].verdict != "ok"


async def test_the_helper_ends_well_on_sigterm(helper: Path, aws: FakeAWS, tmp_path: Path) -> None:
    """Earlier versions ended with exit code 2; this one is no weakness any more."""
    async with serving(helper, aws, tmp_path) as served:
        served.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(served.process.wait(), 10) == 0


async def test_a_bundle_of_leaf_and_chain_is_sent_whole_by_ours_alone(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    held = ROOT.intermediate(at=utc_now()).leaf(at=utc_now())
    flags = aws_helper.identity_flags(replace(held, chain=()), tmp_path)
    (tmp_path / "tls.crt").write_bytes(held.certificate_pem + held.chain_pem)
    theirs, our = await both(helper, aws, *flags)
    assert "Untrusted Signing Certificate" in theirs.errors
    assert our.document()["AccessKeyId"] == aws.sessions[0].access_key_id


async def test_a_leaf_among_the_intermediates_is_repeated_by_the_helper_alone(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    held = ROOT.intermediate(at=utc_now()).leaf(at=utc_now())
    flags = aws_helper.identity_flags(held, tmp_path)
    (tmp_path / "chain.pem").write_bytes(held.certificate_pem + held.chain_pem)
    for outcome in await both(helper, aws, *flags):
        assert outcome.status == 0
    chains = [(one.request.get("x-amz-x509-chain") or "").split(",") for one in aws.requests]
    assert [len(chain) for chain in chains] == [2, 1]


def expired() -> Identity:
    template = replace(LEAF, starts=timedelta(days=-2), lives=timedelta(days=1))
    return ROOT.leaf(at=utc_now(), template=template)


def mismatched() -> Identity:
    return replace(ROOT.leaf(at=utc_now()), key=pki.new_key("p256"))


@pytest.mark.parametrize("held", [expired, mismatched], ids=lambda each: each.__name__)
async def test_what_aws_must_refuse_is_asked_for_by_the_helper_alone(
    helper: Path, aws: FakeAWS, tmp_path: Path, held: Callable[[], Identity]
) -> None:
    theirs, our = await both(helper, aws, *aws_helper.identity_flags(held(), tmp_path))
    assert theirs.status == our.status == 1
    assert len(aws.requests) == 1


async def test_pkcs12_with_a_password_is_opened_by_ours_alone(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    held = ROOT.leaf(at=utc_now())
    assert isinstance(held.key, ec.EllipticCurvePrivateKey)
    file = tmp_path / "identity.p12"
    sealed = BestAvailableEncryption(b"open sesame")
    file.write_bytes(
        pkcs12.serialize_key_and_certificates(b"x", held.key, held.certificate, None, sealed)
    )
    (tmp_path / "password").write_text("open sesame")
    flags = ["--certificate", str(file)]
    assert (await both(helper, aws, *flags))[0].status == 1
    words = [*flags, "--private-key-password-file", f"{tmp_path}/password", *whose(aws)]
    assert (await ours("credential-process", *words)).document()


@pytest.mark.parametrize("form", ["seed", "expanded"])
async def test_mldsa_keys_of_one_half_are_read_by_ours_alone(
    helper: Path, aws: FakeAWS, tmp_path: Path, form: KeyForm
) -> None:
    held = ROOT.leaf(at=utc_now(), kind="ml-dsa-44")
    theirs, our = await both(helper, aws, *aws_helper.identity_flags(held, tmp_path, form))
    assert theirs.status == 1
    assert our.document()["AccessKeyId"] == aws.sessions[0].access_key_id


async def test_runs_one_after_the_other_share_a_session_of_ours_alone(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    words = ["credential-process", *aws_helper.identity_flags(ROOT.leaf(at=utc_now()), tmp_path)]
    words += whose(aws)
    for expected in (1, 2):
        assert (await aws_helper.run(helper, *words)).document()
        assert len(aws.sessions) == expected
    for _ in range(2):
        assert (await ours(*words, "--session-file", f"{tmp_path}/session")).document()
    assert len(aws.sessions) == 3


async def test_debugging_shows_the_session_in_the_helper_alone(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    flags = aws_helper.identity_flags(ROOT.leaf(at=utc_now()), tmp_path)
    theirs, our = await both(helper, aws, *flags, "--debug")
    assert aws.sessions[0].secret_access_key in theirs.errors
    assert aws.sessions[1].secret_access_key not in our.errors


async def test_update_of_the_helper_writes_in_place_and_ends_at_the_first_error(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    flags = [*aws_helper.identity_flags(ROOT.leaf(at=utc_now()), tmp_path), *whose(aws)]
    file = tmp_path / "credentials"
    file.touch()
    before = file.stat().st_ino
    env = {**aws_helper.ENVIRONMENT, "AWS_SHARED_CREDENTIALS_FILE": str(file)}
    assert (await finished(helper, "update", "--once", *flags, env=env)).status == 0
    assert file.stat().st_ino == before
    aws.faults.always(faults.refused())
    assert (await finished(helper, "update", *flags, env=env)).status == 1
