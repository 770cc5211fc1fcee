"""``credential-process`` as AWS SDKs start it: a process, its output, its exit code."""

import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.fakes import aws_clients, faults, pki
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority, Identity
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.support.commands import Outcome, finished

ROOT = Authority.root(at=utc_now())


@pytest.fixture
async def aws() -> AsyncIterator[FakeAWS]:
    world = small_world(ROOT.certificate, accept_role_session_name=True)
    async with FakeAWS.start(world) as started:
        yield started


def files_of(identity: Identity, folder: Path) -> list[str]:
    (folder / "tls.crt").write_bytes(identity.certificate_pem + identity.chain_pem)
    (folder / "tls.key").write_bytes(identity.key_pem())
    return ["--certificate", f"{folder}/tls.crt", "--private-key", f"{folder}/tls.key"]


async def run(aws: FakeAWS, *flags: str, **env: str) -> Outcome:
    """One run that is told of the service by its environment."""
    return await finished(
        sys.executable, "-m", "rolesanywhere_sidecar", "credential-process", *flags,
        env={
            "PATH": os.environ.get("PATH", ""),
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
            "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
            "ROLESANYWHERE_ENDPOINT": aws.rolesanywhere_url,
            **env,
        },
    )  # fmt: skip


async def test_a_session_is_printed_and_nothing_else(aws: FakeAWS, tmp_path: Path) -> None:
    outcome = await run(aws, *files_of(ROOT.leaf(at=utc_now()), tmp_path))
    [issued] = aws.sessions
    assert outcome.document() == {
        "Version": 1,
        "AccessKeyId": issued.access_key_id,
        "SecretAccessKey": issued.secret_access_key,
        "SessionToken": issued.session_token,
        "Expiration": issued.session.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "AccountId": "111122223333",
    }
    assert outcome.errors == ""


async def test_duration_and_name_are_asked_for(aws: FakeAWS, tmp_path: Path) -> None:
    name = "team-a." + "w" * 90
    flags = ["--session-duration", "900", "--role-session-name", name]
    outcome = await run(aws, *files_of(ROOT.leaf(at=utc_now()), tmp_path), *flags)
    outcome.document()
    [issued] = aws.sessions
    assert issued.session.expires < utc_now() + timedelta(seconds=901)
    assert len(issued.session.session_name) == 64
    assert issued.session.session_name.startswith("team-a.www")


async def test_what_passes_is_waited_for(aws: FakeAWS, tmp_path: Path) -> None:
    aws.faults.next(faults.server_error(503))
    outcome = await run(aws, *files_of(ROOT.leaf(at=utc_now()), tmp_path))
    outcome.document()
    assert len(aws.requests) == 2
    sent = [entry.request.get("amz-sdk-invocation-id") for entry in aws.requests]
    assert sent[0] != sent[1]


async def test_a_refusal_is_one_sentence_and_exit_1(aws: FakeAWS, tmp_path: Path) -> None:
    stranger = Authority.root("Stranger", at=utc_now()).leaf(at=utc_now())
    outcome = await run(aws, *files_of(stranger, tmp_path))
    assert (outcome.status, outcome.output) == (1, "")
    [line] = outcome.errors.splitlines()
    assert line.startswith("rolesanywhere-sidecar: AccessDenied: CreateSession at 127.0.0.1:")
    assert "Untrusted Signing Certificate" in line
    assert "add the missing intermediates" in line
    assert len(aws.requests) == 1


async def test_a_mismatched_pair_is_told_without_asking_the_service(
    aws: FakeAWS, tmp_path: Path
) -> None:
    pair = replace(ROOT.leaf("mine", at=utc_now()), key=pki.new_key("p256"))
    outcome = await run(aws, *files_of(pair, tmp_path))
    assert (outcome.status, outcome.output) == (1, "")
    [line] = outcome.errors.splitlines()
    assert line.startswith("rolesanywhere-sidecar: KeyMismatch: the private key does not belong to")
    assert not aws.requests


async def test_a_doubt_about_the_certificate_is_one_sentence_beside_the_session(
    aws: FakeAWS, tmp_path: Path
) -> None:
    leaf = ROOT.leaf(at=utc_now())
    beside = replace(leaf, chain=(Authority.root("Stranger", at=utc_now()).certificate,))
    outcome = await run(aws, *files_of(beside, tmp_path))
    outcome.document()
    [line] = outcome.errors.splitlines()
    assert line.startswith("rolesanywhere-sidecar: identity questionable: 1 certificate(s) beside")


async def test_wrong_settings_are_all_named_and_exit_2(aws: FakeAWS) -> None:
    outcome = await run(aws, "--session-duration", "1", ROLESANYWHERE_ROLE_ARN="oops")
    assert (outcome.status, outcome.output) == (2, "")
    for name in ("--session-duration: '1'", "ROLESANYWHERE_ROLE_ARN: 'oops'",
                 "--certificate (or ROLESANYWHERE_CERTIFICATE): is not set"):  # fmt: skip
        assert name in outcome.errors


BOTO3 = """
import boto3, json, sys
given = json.load(sys.stdin)
sts = boto3.Session(profile_name="reports").client("sts", endpoint_url=given["sts"])
print(json.dumps({"arn": sts.get_caller_identity()["Arn"]}))
"""


async def test_boto3_takes_its_credentials_from_the_process(aws: FakeAWS, tmp_path: Path) -> None:
    files = " ".join(files_of(ROOT.leaf(at=utc_now()), tmp_path))
    command = (
        f"{sys.executable} -m rolesanywhere_sidecar credential-process {files}"
        f" --trust-anchor-arn {TRUST_ANCHOR_ARN} --profile-arn {PROFILE_ARN}"
        f" --role-arn {ROLE_ARN} --endpoint {aws.rolesanywhere_url}"
    )
    config = tmp_path / "config"
    config.write_text(f"[profile reports]\nregion = eu-west-1\ncredential_process = {command}\n")
    answer = await aws_clients.run(BOTO3, {"sts": aws.sts_url}, AWS_CONFIG_FILE=str(config))
    [issued] = aws.sessions
    assert answer["arn"] == issued.session.assumed_role_arn
