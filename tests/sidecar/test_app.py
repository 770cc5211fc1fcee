"""The program's entry: which command runs, with which exit code, and what is loaded for it."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar import __main__ as program
from rolesanywhere_sidecar import app
from rolesanywhere_sidecar.commands import credential_process
from rolesanywhere_sidecar.redaction import Redaction
from rolesanywhere_sidecar.version import VERSION
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN
from tests.support.clocks import START
from tests.support.sessions import SECRET_ACCESS_KEY, SESSION_TOKEN, ScriptedSource

ENV = {
    "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
    "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
    "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
    "ROLESANYWHERE_CERTIFICATE": "/nonexistent/tls.crt",
}
TERMINATED_WHILE_LOADING = """
import importlib.abc, os, signal, sys
class Terminating(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "rolesanywhere_sidecar.app":
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Terminating())
from rolesanywhere_sidecar.__main__ import main
sys.argv = ["rolesanywhere-sidecar", "serve"]
sys.exit(main())
"""
MODULES = "import sys, rolesanywhere_sidecar.{}; print(*sys.modules)"


@pytest.fixture(autouse=True)
def _the_interpreter_is_left_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, on_term = root.handlers[:], root.level, signal.getsignal(signal.SIGTERM)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    signal.signal(signal.SIGTERM, on_term)


def run(monkeypatch: pytest.MonkeyPatch, *argv: str, **env: str) -> int:
    """The exit code of ``rolesanywhere-sidecar argv`` in ``env``."""
    monkeypatch.setattr(sys, "argv", ["rolesanywhere-sidecar", *argv])
    monkeypatch.setattr(os, "environ", env)
    return program.main()


@pytest.mark.parametrize(
    ("command", "module"), [("serve", app), ("credential-process", credential_process)], ids=str
)
def test_each_command_reaches_its_own_program_with_the_settings(
    monkeypatch: pytest.MonkeyPatch, command: str, module: object
) -> None:
    given: list[Settings] = []

    def main(settings: Settings) -> int:
        given.append(settings)
        return 7

    monkeypatch.setattr(module, "main", main)
    assert run(monkeypatch, command, **ENV) == 7
    assert given == [Settings.from_env(ENV)]


def test_every_wrong_setting_has_a_line_of_its_own_and_the_exit_code_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"ROLESANYWHERE_PORT": "none", "ROLESANYWHERE_DURATION_SECONDS": "5"}
    assert run(monkeypatch, "serve", **ENV | wrong) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.split(":")[:2] for line in printed.err.splitlines()] == [
        ["rolesanywhere-sidecar", " ROLESANYWHERE_DURATION_SECONDS"],
        ["rolesanywhere-sidecar", " ROLESANYWHERE_PORT"],
    ]


def test_version_needs_no_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "version")
    assert ended.value.code == 0
    assert VERSION in capsys.readouterr().out


@pytest.mark.parametrize("module", ["commands.credential_process", "__main__"])
def test_credential_process_does_not_load_the_server(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MODULES.format(module)], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"rolesanywhere_sidecar.serving.connections", "rolesanywhere_sidecar.app"}


def test_a_sigterm_that_comes_while_the_server_is_still_loaded_ends_it_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TERMINATED_WHILE_LOADING], env=ENV, check=False, timeout=60
    )
    assert done.returncode == 0


def test_a_bug_ends_with_exit_code_1_and_is_redacted_like_anything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def buggy(settings: Settings, *, env: object, redaction: Redaction) -> None:
        redaction.learn(SECRET_ACCESS_KEY)
        raise ValueError(SECRET_ACCESS_KEY)

    monkeypatch.setattr(app, "serve", buggy)
    assert app.main(Settings.from_env(ENV)) == 1
    written = capsys.readouterr().err
    assert SECRET_ACCESS_KEY not in written
    assert json.loads(written)["event"] == "crashed"


async def test_the_log_knows_a_sessions_secrets_before_the_broker_does() -> None:
    redaction = Redaction()
    source = app.Discreet(ScriptedSource(lambda: START), redaction)
    await source.create_session()
    shown = redaction(f"{SECRET_ACCESS_KEY} {SESSION_TOKEN[:99]}")
    assert SECRET_ACCESS_KEY not in shown
