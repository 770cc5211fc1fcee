"""``update`` as a process: the file that AWS's own clients then read, and what it survives."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes import aws_clients, aws_helper, faults
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.support.commands import PATIENCE_SECONDS, Outcome, finished
from tests.support.sidecars import eventually
from tests.support.tools import build_or_skip

ROOT = Authority.root(at=utc_now())

BEFORE = """\
# who may read this: me
[default]
region = eu-west-1

[team]
aws_access_key_id = AKIATEAM
s3 =
    max_concurrent_requests = 20
[reports]
output = json"""


@pytest.fixture
async def aws() -> AsyncIterator[FakeAWS]:
    async with FakeAWS.start(small_world(ROOT.certificate)) as started:
        yield started


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "credentials"
    path.write_text(BEFORE)
    return path


def flags(aws: FakeAWS, folder: Path) -> list[str]:
    """What AWS's helper is told, and we."""
    return [
        *aws_helper.identity_flags(ROOT.leaf(at=utc_now()), folder),
        "--endpoint", aws.rolesanywhere_url, "--trust-anchor-arn", TRUST_ANCHOR_ARN,
        "--profile-arn", PROFILE_ARN, "--role-arn", ROLE_ARN,
    ]  # fmt: skip


def environment(file: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": str(file),
    }


async def once(aws: FakeAWS, folder: Path, file: Path, *more: str) -> Outcome:
    return await finished(
        sys.executable, "-m", "rolesanywhere_sidecar", "update", "--once",
        *flags(aws, folder), *more, env=environment(file),
    )  # fmt: skip


@asynccontextmanager
async def running(
    aws: FakeAWS, folder: Path, file: Path, *more: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rolesanywhere_sidecar", "update", *flags(aws, folder), *more,
        env=environment(file), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until_told(process: asyncio.subprocess.Process, word: str) -> list[str]:
    """The lines of stderr up to the first that has ``word``."""
    assert process.stderr is not None
    lines: list[str] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (lines and word in lines[-1]):
            line = await process.stderr.readline()
            assert line, f"it ended after {lines}"
            lines.append(line.decode())
    return lines


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode or 0, errors.decode()


def text_of(path: Path) -> str:
    return path.read_text()


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def key_of(file: Path) -> str:
    """The access key of the profile reports."""
    _, _, text = text_of(file).partition("[reports]\naws_access_key_id = ")
    return text.partition("\n")[0]


async def test_once_writes_a_profile_and_nothing_else(
    aws: FakeAWS, tmp_path: Path, file: Path
) -> None:
    outcome = await once(aws, tmp_path, file, "--profile", "reports")
    assert (outcome.status, outcome.output) == (0, "")
    [issued] = aws.sessions
    assert text_of(file) == BEFORE.replace(
        "[reports]\n",
        f"[reports]\naws_access_key_id = {issued.access_key_id}\n"
        f"aws_secret_access_key = {issued.secret_access_key}\n"
        f"aws_session_token = {issued.session_token}\n",
    )
    assert mode_of(file) == 0o600
    [line] = outcome.errors.splitlines()
    assert line.startswith(
        f"rolesanywhere-sidecar: profile reports of {file} written, good until 20"
    )
    assert issued.secret_access_key not in outcome.errors


BOTO3 = """\
import boto3, json, sys
given = json.load(sys.stdin)
sts = boto3.Session(profile_name="reports").client("sts", endpoint_url=given["sts"])
print(json.dumps({"arn": sts.get_caller_identity()["Arn"]}))
"""


async def test_boto3_reads_the_profile_and_sts_believes_it(
    aws: FakeAWS, tmp_path: Path, file: Path
) -> None:
    assert (await once(aws, tmp_path, file, "--profile", "reports")).status == 0
    answer = await aws_clients.run(
        BOTO3,
        {"sts": aws.sts_url},
        AWS_SHARED_CREDENTIALS_FILE=str(file),
        AWS_DEFAULT_REGION="eu-west-1",
    )
    assert answer["arn"] == aws.sessions[0].session.assumed_role_arn


async def test_the_aws_cli_reads_the_profile_and_sts_believes_it(
    aws: FakeAWS, tmp_path: Path, file: Path
) -> None:
    assert (await once(aws, tmp_path, file, "--profile", "reports")).status == 0
    outcome = await finished(
        aws_clients.interpreter(), "-m", "awscli", "sts", "get-caller-identity",
        "--profile", "reports", "--endpoint-url", aws.sts_url, "--region", "eu-west-1",
        env={**environment(file), "AWS_EC2_METADATA_DISABLED": "true"},
    )  # fmt: skip
    assert outcome.document()["Arn"] == aws.sessions[0].session.assumed_role_arn


async def test_once_that_fails_is_one_sentence_and_exit_1(
    aws: FakeAWS, tmp_path: Path, file: Path
) -> None:
    aws.faults.next(faults.garbage(403, b'{"code": "AccessDeniedException"}'))
    outcome = await once(aws, tmp_path, file)
    assert outcome.status == 1
    [line] = outcome.errors.splitlines()
    assert line.startswith("rolesanywhere-sidecar: AccessDenied: CreateSession at 127.0.0.1:")
    assert text_of(file) == BEFORE


async def test_a_profile_that_cannot_be_written_costs_one_session(
    aws: FakeAWS, tmp_path: Path
) -> None:
    outcome = await once(aws, tmp_path, Path("/proc/none/credentials"))
    assert outcome.status == 1
    assert "the credentials file /proc/none/credentials cannot be written" in outcome.errors
    assert len(aws.sessions) == 1


async def test_a_profile_that_is_no_name_is_a_mistake(
    aws: FakeAWS, tmp_path: Path, file: Path
) -> None:
    outcome = await once(aws, tmp_path, file, "--profile", "a]\nb")
    assert (outcome.status, aws.requests) == (2, [])
    assert "--profile: " in outcome.errors


async def test_it_survives_what_the_helper_dies_of_and_ends_when_told(
    aws: FakeAWS, tmp_path: Path, file: Path
) -> None:
    """The helper ends at the first error, as a daemon."""
    aws.faults.next(faults.server_error(503))
    async with running(aws, tmp_path, file, "--profile", "reports") as process:
        # It says so when it has written, and not before.
        lines = await until_told(process, " written, ")
        assert key_of(file) == aws.sessions[0].access_key_id
        status, errors = await ended(process)
    lines += errors.splitlines()
    assert status == 0
    assert [line.partition(": ")[2].partition(" ")[0] for line in lines] == [
        "session",
        "profile",
    ]
    assert "ServiceUnavailable" not in key_of(file)
    assert len(aws.requests) == 2


async def test_a_failed_renewal_keeps_the_profile_that_is_good(
    aws: FakeAWS, tmp_path: Path, file: Path
) -> None:
    async with running(aws, tmp_path, file, "--profile", "reports") as process:

        async def written() -> bool:
            return key_of(file) != ""

        await eventually(written, what=lambda: "the profile")
        good = text_of(file)
        aws.faults.always(faults.server_error(503))
        # A new certificate has the session renewed at once.
        aws_helper.identity_flags(ROOT.leaf(at=utc_now()), tmp_path)

        async def refused() -> bool:
            return len(aws.requests) >= 2

        await eventually(refused, what=lambda: "a renewal")
        await until_told(process, "session renewal failed")
        assert text_of(file) == good
        aws.faults.clear()

        async def renewed() -> bool:
            return key_of(file) == aws.sessions[-1].access_key_id != aws.sessions[0].access_key_id

        await eventually(renewed, what=lambda: "the second session")
        assert (await ended(process))[0] == 0
    assert BEFORE.partition("[reports]")[0] in text_of(file)


@pytest.fixture(scope="session")
def helper() -> Path:
    return build_or_skip(aws_helper.find_or_build)


async def test_the_last_line_that_the_helper_drops_is_kept(
    helper: Path, aws: FakeAWS, tmp_path: Path, file: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text(BEFORE)
    command = [str(helper), "update", "--once", *flags(aws, tmp_path), "--profile", "reports"]
    outcome = await finished(*command, env={**environment(theirs), "NO_PROXY": "*"})
    assert outcome.status == 0, outcome.errors
    await once(aws, tmp_path, file, "--profile", "reports")
    assert "output = json" not in text_of(theirs)
    assert "output = json" in text_of(file)


async def test_the_folder_can_be_entered_by_who_made_it(
    helper: Path, aws: FakeAWS, tmp_path: Path
) -> None:
    theirs, ours = tmp_path / "theirs" / "credentials", tmp_path / "ours" / "credentials"
    command = [str(helper), "update", "--once", *flags(aws, tmp_path)]
    await finished(*command, env={**environment(theirs), "NO_PROXY": "*"})
    await once(aws, tmp_path, ours)
    assert mode_of(theirs.parent) == 0o600
    assert mode_of(ours.parent) == 0o700
