"""The program from outside: how it says what is wrong, and what it warns of."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.support.commands import PATIENCE_SECONDS, Outcome, finished
from tests.support.ports import free_port

ROOT = Authority.root(at=utc_now())


async def run(*arguments: str, **env: str) -> Outcome:
    return await finished(
        sys.executable, "-m", "rolesanywhere_sidecar", *arguments,
        env={"PATH": os.environ.get("PATH", ""), **env},
    )  # fmt: skip


def configured(folder: Path, *lines: str) -> Path:
    """A config file with all that is required."""
    leaf = ROOT.leaf(at=utc_now())
    (folder / "tls.pem").write_bytes(leaf.certificate_pem + leaf.key_pem())
    path = folder / "config.toml"
    path.write_text(
        f'trust_anchor_arn = "{TRUST_ANCHOR_ARN}"\nprofile_arn = "{PROFILE_ARN}"\n'
        f'role_arn = "{ROLE_ARN}"\ncertificate = "{folder}/tls.pem"\n' + "\n".join(lines)
    )
    path.chmod(0o644)
    return path


async def test_a_config_file_is_all_that_is_needed(tmp_path: Path) -> None:
    async with FakeAWS.start(small_world(ROOT.certificate)) as aws:
        config = configured(tmp_path, f'endpoint = "{aws.rolesanywhere_url}"')
        outcome = await run("credential-process", ROLESANYWHERE_CONFIG=str(config))
        assert outcome.document()["AccessKeyId"] == aws.sessions[0].access_key_id
        assert outcome.errors == ""


@pytest.mark.parametrize("asked", [("--help",), ("serve", "--help"), ("version",)])
async def test_who_closes_the_page_early_sees_no_traceback(asked: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rolesanywhere_sidecar", *asked,
            stdout=writing, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    finally:
        os.close(writing)
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert (process.returncode, errors) == (0, b"")


async def test_mistakes_in_a_config_file_are_named_with_all_others(tmp_path: Path) -> None:
    config = configured(tmp_path, 'duration_seconds = "soon"', "prot = 1")
    outcome = await run("serve", "--config", str(config), "--log-level", "loud")
    assert (outcome.status, outcome.output) == (2, "")
    assert outcome.errors.splitlines() == [
        f"rolesanywhere-sidecar: {config}: duration_seconds: is not a whole number without quotes",
        f"rolesanywhere-sidecar: {config}: prot: is not a setting; did you mean port?",
        "rolesanywhere-sidecar: --log-level: 'loud' is not a log level, expected one of debug,"
        " info, warning, error",
    ]


@pytest.mark.parametrize("mode", [0o644, 0o600])
async def test_a_password_that_others_may_read_is_a_warning(tmp_path: Path, mode: int) -> None:
    config = configured(tmp_path, 'private_key_password = "hunter2"')
    config.chmod(mode)
    outcome = await run("sign-string", "--config", str(config))
    assert outcome.status == 0, outcome.errors
    expected = f"rolesanywhere-sidecar: {config}: holds a password and others may read it;"
    assert outcome.errors.startswith(expected) == (mode == 0o644)
    assert bool(outcome.errors) == (mode == 0o644)
    assert "hunter2" not in outcome.errors


async def test_serve_warns_in_its_log_and_repeats_no_password(tmp_path: Path) -> None:
    config = configured(tmp_path)
    outcome = await run(
        "serve", "--config", str(config), "--pkcs8-password", "hunter2",
        "--token-file", f"{tmp_path}/none/token", "--port", str(free_port()),
    )  # fmt: skip
    records = [json.loads(line) for line in outcome.errors.splitlines()]
    assert outcome.status == 1
    [warning] = [each for each in records if each["event"] == "settings questionable"]
    assert warning["problem"].startswith("--pkcs8-password: everybody on this machine can read")
    assert "hunter2" not in outcome.errors


async def test_doctor_runs_where_settings_are_wrong() -> None:
    outcome = await run("doctor", "--offline", "--output", "json", ROLESANYWHERE_ROLE_ARN="oops")
    assert outcome.status == 1
    assert "ROLESANYWHERE_ROLE_ARN" in json.dumps(json.loads(outcome.output))


async def test_no_command_opens_what_no_command_needs() -> None:
    """Help and version work on a machine where nothing is set up."""
    for arguments in (["--help"], ["--version"], ["version"], ["update", "--help"]):
        outcome = await run(*arguments, ROLESANYWHERE_CONFIG="/none", ROLESANYWHERE_PORT="x")
        assert (outcome.status, outcome.errors) == (0, "")
