"""The command: what it prints where, and how it ends."""

import io
import json
import logging
import os
import sys
import warnings
from collections.abc import AsyncIterator

import pytest

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.doctor import Options, main
from rolesanywhere_sidecar.doctor.examination import Examination
from rolesanywhere_sidecar.doctor.findings import Check, Finding, failure, ok, warning
from tests.support.examined import SETTINGS
from tests.support.ports import free_port

WELL = ok(Check.SETTINGS, "fine")


class Terminal(io.StringIO):
    """Standard output that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def settings() -> Settings:
    ports = {f"ROLESANYWHERE_{name}": str(free_port()) for name in ("PORT", "PROBE_PORT")}
    return Settings.from_env(SETTINGS | ports)


def finds(monkeypatch: pytest.MonkeyPatch, *findings: Finding | BaseException) -> None:
    """Let the examination find these, or raise."""

    async def found(_: Examination) -> AsyncIterator[Finding]:
        for each in findings:
            if isinstance(each, BaseException):
                raise each
            yield each

    monkeypatch.setattr(Examination, "findings", found)


@pytest.mark.parametrize(
    ("finding", "code"),
    [
        (WELL, 0),
        (warning(Check.CLOCK, "late", "set it"), 0),
        (failure(Check.DNS, "no", "do"), 1),
    ],
)
def test_the_exit_code_tells(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    finding: Finding,
    code: int,
) -> None:
    finds(monkeypatch, finding)
    assert main(settings, Options()) == code
    assert finding.sentence in capsys.readouterr().out


def test_json_is_one_document_and_nothing_else(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finds(monkeypatch, WELL)
    assert main(settings, Options(output="json")) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["findings"][0]["check"] == "settings"
    assert printed.err == ""


@pytest.mark.parametrize(
    ("env", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], coloured: bool
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    output = Terminal()
    monkeypatch.setattr(sys, "stdout", output)
    finds(monkeypatch, WELL)
    main(settings, Options())
    assert ("\x1b[" in output.getvalue()) is coloured


def test_a_pipe_gets_no_colour(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finds(monkeypatch, WELL)
    main(settings, Options())
    assert "\x1b" not in capsys.readouterr().out


def test_an_interrupt_ends_it_with_130_and_no_traceback(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finds(monkeypatch, WELL, KeyboardInterrupt())
    assert main(settings, Options()) == 130
    assert capsys.readouterr().err == ""


def test_what_nobody_foresaw_is_one_sentence_with_its_kind_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finds(monkeypatch, LookupError("hunter2"))
    assert main(settings, Options()) == 1
    printed = capsys.readouterr()
    assert "an unforeseen LookupError; this is a bug" in printed.err
    assert "hunter2" not in printed.out + printed.err


def test_what_libraries_warn_of_stays_off_standard_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def found(_: Examination) -> AsyncIterator[Finding]:
        warnings.warn("an odd serial number", UserWarning, stacklevel=1)
        logging.getLogger("rolesanywhere_sidecar.clock").warning("clock skewed")
        yield WELL

    monkeypatch.setattr(Examination, "findings", found)
    assert main(settings, Options()) == 0
    assert capsys.readouterr().err == ""


def test_it_runs_when_settings_are_wrong_and_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(os.environ):
        if name.startswith("ROLESANYWHERE_"):
            monkeypatch.delenv(name)
    env = SETTINGS | {
        "ROLESANYWHERE_ROLE_ARN": "oops",
        "ROLESANYWHERE_PRIVATE_KEY_PASSWORD": "hunter2",
        "ROLESANYWHERE_PORT": str(free_port()),
        "ROLESANYWHERE_PROBE_PORT": str(free_port()),
    }
    with pytest.raises(InvalidSettings) as wrong:
        Settings.from_env(env)
    assert main(wrong.value, Options(offline=True)) == 1
    printed = capsys.readouterr()
    assert "failure  settings: ROLESANYWHERE_ROLE_ARN: 'oops'" in printed.out
    assert "failure  certificate-file: the certificate with its key" in printed.out
    assert "hunter2" not in printed.out + printed.err
