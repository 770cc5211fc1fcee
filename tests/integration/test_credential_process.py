"""``credential-process`` as AWS SDKs start it: a process, its output, its exit code."""

import asyncio
import os
import shlex
import signal
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
from tests.support.commands import PATIENCE_SECONDS, Outcome, finished

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


def environment(aws: FakeAWS) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
        "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
        "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
        "ROLESANYWHERE_ENDPOINT": aws.rolesanywhere_url,
    }


async def run(aws: FakeAWS, *flags: str, **env: str) -> Outcome:
    """One run that is told of the service by its environment."""
    return await finished(
        sys.executable, "-m", "rolesanywhere_sidecar", "credential-process", *flags,
        env={**environment(aws), **env},
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


async def test_a_wrong_proxy_is_one_sentence_without_its_value(
    aws: FakeAWS, tmp_path: Path
) -> None:
    outcome = await run(
        aws,
        *files_of(ROOT.leaf(at=utc_now()), tmp_path),
        ROLESANYWHERE_ENDPOINT="https://rolesanywhere.nowhere.invalid",
        https_proxy="http://svc:S3cr/etPass@host:3128",
    )
    assert (outcome.status, outcome.output) == (1, "")
    [line] = outcome.errors.splitlines()
    assert line.startswith("rolesanywhere-sidecar: InvalidProxy: https_proxy is not the URL of")
    assert "S3cr" not in line


# For a reader who is gone before anything is written, and says so.
GONE = "| { exec <&-; touch gone; }"


async def through_a_shell(aws: FakeAWS, folder: Path, redirection: str) -> Outcome:
    """A run whose exit code comes last on standard error, with its output ``redirection``."""
    first = "until test -e gone; do sleep 0.05; done; " if redirection == GONE else ""
    command = [sys.executable, "-m", "rolesanywhere_sidecar", "credential-process"]
    command += files_of(ROOT.leaf(at=utc_now()), folder)
    return await finished(
        "/usr/bin/env", "-C", str(folder),
        "sh", "-c", f"{{ {first}{shlex.join(command)}; echo $? >&2; }} {redirection}",
        env=environment(aws),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        (GONE, "Broken pipe"),
        (">/dev/full", "No space left on device"),
        (">&-", "it is closed"),
    ],
)
async def test_credentials_that_nobody_can_read_are_one_sentence_and_exit_1(
    aws: FakeAWS, tmp_path: Path, redirection: str, reason: str
) -> None:
    outcome = await through_a_shell(aws, tmp_path, redirection)
    sentence = f"the credentials cannot be written to standard output: {reason}"
    assert outcome.errors.splitlines() == [f"rolesanywhere-sidecar: OutputClosed: {sentence}", "1"]


async def test_a_closed_standard_error_never_puts_a_sentence_on_standard_output(
    aws: FakeAWS, tmp_path: Path
) -> None:
    aws.faults.next(faults.garbage(403, b'{"code": "AccessDeniedException"}'))
    outcome = await through_a_shell(aws, tmp_path, "2>&-")
    assert outcome.output == ""
    assert len(aws.requests) == 1


async def test_an_interrupt_ends_it_without_a_traceback(aws: FakeAWS, tmp_path: Path) -> None:
    aws.faults.next(faults.Delay(600))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rolesanywhere_sidecar", "credential-process",
        *files_of(ROOT.leaf(at=utc_now()), tmp_path),
        env=environment(aws), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not aws.requests:  # noqa: ASYNC110 - the service tells nobody of a request
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGINT)
            said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, said) == (130, (b"", b""))


async def test_twenty_that_start_at_once_make_one_session(aws: FakeAWS, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    flags = [*files_of(ROOT.leaf(at=utc_now()), tmp_path), "--session-file", str(kept)]
    outcomes = await asyncio.gather(*(run(aws, *flags) for _ in range(20)))
    [issued] = aws.sessions
    assert {outcome.document()["AccessKeyId"] for outcome in outcomes} == {issued.access_key_id}
    assert {outcome.errors for outcome in outcomes} == {""}
    assert kept.stat().st_mode & 0o777 == 0o600
    assert len(aws.requests) == 1


async def test_a_kept_session_is_no_good_to_another_certificate_or_name(
    aws: FakeAWS, tmp_path: Path
) -> None:
    flags = ["--session-file", f"{tmp_path}/kept"]
    first = files_of(ROOT.leaf(at=utc_now()), tmp_path)
    await run(aws, *flags, *first)
    await run(aws, *flags, *first, "--role-session-name", "team-a.web")
    assert len(aws.sessions) == 2
    outcome = await run(
        aws,
        *flags,
        *files_of(ROOT.leaf(at=utc_now()), tmp_path),
        "--role-session-name",
        "team-a.web",
    )
    outcome.document()
    assert len(aws.sessions) == 3


# The program forty minutes later.
LATER = """
import sys
from datetime import timedelta
from rolesanywhere_sidecar.__main__ import main
from rolesanywhere_sidecar.clock import SystemClock
now = SystemClock.now
SystemClock.now = lambda clock: now(clock) + timedelta(minutes=40)
sys.argv[1:1] = ["credential-process"]
sys.exit(main())
"""


async def test_a_kept_session_outlives_its_certificate(aws: FakeAWS, tmp_path: Path) -> None:
    brief = replace(pki.LEAF, starts=timedelta(0), lives=timedelta(minutes=30))
    files = files_of(ROOT.leaf(at=utc_now(), template=brief), tmp_path)
    keeping = ["--session-file", f"{tmp_path}/kept"]
    first = (await run(aws, *files, *keeping)).document()
    aws.account.clock = lambda: utc_now() + timedelta(minutes=40)
    later = [sys.executable, "-c", LATER, *files]
    assert (await finished(*later, *keeping, env=environment(aws))).document() == first
    assert "CertificateExpired" in (await finished(*later, env=environment(aws))).errors
    assert len(aws.sessions) == 1


async def test_a_kept_session_costs_no_http(aws: FakeAWS, tmp_path: Path) -> None:
    """What speaks HTTP takes a quarter of the start, and an SDK waits for each."""
    flags = [*files_of(ROOT.leaf(at=utc_now()), tmp_path), "--session-file", f"{tmp_path}/kept"]
    script = (
        "import sys; sys.argv[1:1] = ['credential-process'];"
        "from rolesanywhere_sidecar.__main__ import main; main();"
        "print(*(name for name in ('h11', 'tomllib', 'difflib') if name in sys.modules),"
        " file=sys.stderr)"
    )
    loaded = []
    for _ in range(2):
        outcome = await finished(sys.executable, "-c", script, *flags, env=environment(aws))
        outcome.document()
        loaded.append(outcome.errors.split())
    assert loaded == [["h11"], []]


@pytest.mark.parametrize("trouble", ["garbage", "folder", "unwritable"])
async def test_a_session_file_that_is_no_good_costs_a_warning_and_no_answer(
    aws: FakeAWS, tmp_path: Path, trouble: str
) -> None:
    kept = tmp_path / "kept"
    if trouble == "garbage":
        kept.write_text("garbage")
    elif trouble == "folder":
        kept.mkdir()
    else:
        kept = Path("/proc/kept")
    flags = [*files_of(ROOT.leaf(at=utc_now()), tmp_path), "--session-file", str(kept)]
    outcome = await run(aws, *flags)
    outcome.document()
    assert str(kept) in outcome.errors
    assert all(line.startswith("rolesanywhere-sidecar: ") for line in outcome.errors.splitlines())


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
