"""Every command ends, whatever hangs, and prints or says why not, wherever its output goes."""

import asyncio
import os
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.fakes import aws_helper
from tests.fakes.aws import FakeAWS, utc_now
from tests.fakes.pki import Authority
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN, small_world
from tests.support.commands import Outcome, finished
from tests.support.ports import free_port

ROOT = Authority.root(at=utc_now())

# The program, where one function of the system's never comes back; it tells that it was called.
HANGING = """
import os, socket, sys, time
def hang(*_, **__):
    os.write(2, b"hangs\\n")
    while True:
        time.sleep(1)
{setup}
from rolesanywhere_sidecar.commands import terminal
terminal.TOTAL_SECONDS = {total}
terminal.attempt.__kwdefaults__["within"] = {total}
from rolesanywhere_sidecar.__main__ import main
sys.exit(main())
"""
NAME_SERVER = "socket.getaddrinfo = hang"
FILE_SYSTEM = "os.fsync = hang"


def arguments(folder: Path, endpoint: str) -> list[str]:
    return [
        *aws_helper.identity_flags(ROOT.leaf(at=utc_now()), folder), "--endpoint", endpoint,
        "--trust-anchor-arn", TRUST_ANCHOR_ARN, "--profile-arn", PROFILE_ARN,
        "--role-arn", ROLE_ARN,
    ]  # fmt: skip


async def hangs(
    setup: str, *words: str, number: int | None, total: float, env: dict[str, str]
) -> tuple[int, bytes, float]:
    """Exit code, standard error, and how long it took from the hanging, or the signal, to the
    end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING.format(setup=setup, total=total), *words,
        env={"PATH": os.environ.get("PATH", ""), **env},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while (line := await process.stderr.readline()) != b"hangs\n":
                assert line, "it ended before anything hung"
            begun = time.monotonic()
            if number is not None:
                process.send_signal(number)
            rest = await process.stderr.read()
            return await process.wait(), rest, time.monotonic() - begun
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


SOMEWHERE = "https://rolesanywhere.nowhere.invalid"


@pytest.mark.parametrize("command", ["credential-process", "doctor"])
async def test_a_name_server_that_hangs_outlives_no_interrupt(tmp_path: Path, command: str) -> None:
    words = [command, *arguments(tmp_path, SOMEWHERE)]
    code, errors, took = await hangs(NAME_SERVER, *words, number=signal.SIGINT, total=50, env={})
    assert (code, errors) == (130, b"")
    assert took < 7.5


async def test_a_total_deadline_is_kept_and_told(tmp_path: Path) -> None:
    words = ["credential-process", *arguments(tmp_path, SOMEWHERE)]
    code, errors, took = await hangs(NAME_SERVER, *words, number=None, total=3, env={})
    assert code == 1
    assert errors.startswith(b"rolesanywhere-sidecar: TimedOut: no end within 3 seconds; ")
    assert took < 7.5


@pytest.mark.parametrize("once", ["true", "false"])
async def test_a_file_system_that_hangs_does_not_outlive_the_signal(
    tmp_path: Path, once: str
) -> None:
    async with FakeAWS.start(small_world(ROOT.certificate)) as aws:
        words = ["update", "--once", once, *arguments(tmp_path, aws.rolesanywhere_url)]
        code, _, took = await hangs(
            FILE_SYSTEM, *words, number=signal.SIGTERM, total=50,
            env={"AWS_SHARED_CREDENTIALS_FILE": f"{tmp_path}/credentials"},
        )  # fmt: skip
    assert code == (-signal.SIGTERM if once == "true" else 0)
    assert took < 7.5


async def test_what_hangs_on_the_loop_itself_is_ended_by_force(tmp_path: Path) -> None:
    """A plain file call, where no thread helps: serve's last resort is 8 seconds away."""
    setup = (
        "from rolesanywhere_sidecar import running; running.LAST_RESORT_SECONDS = 1;"
        "from rolesanywhere_sidecar.serving import listeners; listeners.every_address = hang"
    )
    code, _, took = await hangs(
        setup, "serve", "--port", str(free_port()), *arguments(tmp_path, SOMEWHERE),
        number=signal.SIGTERM, total=50, env={"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
    )  # fmt: skip
    assert code == 0
    assert took < 7.5


async def shell(folder: Path, words: str, redirection: str, **env: str) -> Outcome:
    """Its exit code is the last word on standard error."""
    command = f"{shlex.quote(sys.executable)} -m rolesanywhere_sidecar {words}"
    return await finished(
        "sh", "-c", f"exec 3>&2; {command} {redirection}; echo $? >&3",
        env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder), **env},
    )  # fmt: skip


COMMANDS = ["version", "serve --help", "--help", "doctor --offline --certificate /none"]


@pytest.mark.parametrize("words", COMMANDS)
@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "it is closed")],
)
async def test_an_output_that_takes_nothing_is_one_sentence(
    tmp_path: Path, words: str, redirection: str, reason: str
) -> None:
    outcome = await shell(tmp_path, words, redirection)
    line, code = outcome.errors.splitlines()
    assert line.startswith("rolesanywhere-sidecar: OutputClosed: the ")
    assert line.endswith(f"cannot be written to standard output: {reason}")
    assert code == "1"


@pytest.mark.parametrize("words", COMMANDS)
async def test_an_output_of_few_characters_gets_the_others_escaped(
    tmp_path: Path, words: str
) -> None:
    outcome = await shell(tmp_path, words, "", PYTHONIOENCODING="ascii")
    assert outcome.output.isascii()
    assert outcome.errors == ("1\n" if "doctor" in words else "0\n")


async def test_a_path_that_is_no_text_is_shown_nevertheless(tmp_path: Path) -> None:
    words = "doctor --offline --certificate \"$(printf '/none\\377')\""
    outcome = await shell(tmp_path, words, "")
    assert outcome.errors == "1\n"
    assert "/none\\udcff" in outcome.output.replace("\n         ", "")


async def test_with_standard_error_closed_a_warning_stays_off_standard_output(
    tmp_path: Path,
) -> None:
    files = shlex.join(aws_helper.identity_flags(ROOT.leaf(at=utc_now()), tmp_path))
    outcome = await shell(tmp_path, f"sign-string {files} --pkcs8-password x", "2>&-")
    assert outcome.output.startswith('"')
    assert outcome.errors == "0\n"


async def test_the_probe_ends_with_its_verdict_whatever_its_output(tmp_path: Path) -> None:
    for redirection in (">/dev/full", ">&-"):
        outcome = await shell(tmp_path, "probe --probe-port 1", redirection)
        assert outcome.errors == "1\n"


async def test_without_arguments_the_overview_is_shown(tmp_path: Path) -> None:
    outcome = await shell(tmp_path, "", "")
    assert "a command is missing" in outcome.errors
    assert "credential-process" in outcome.errors
    assert outcome.errors.splitlines()[-1] == "2"
