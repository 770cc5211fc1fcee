"""The config file: settings by their names, with all mistakes at once and no value repeated."""

import errno
import os
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.settings import Settings, about
from rolesanywhere_sidecar.commands import configuration
from rolesanywhere_sidecar.commands.commandline import Invocation, parse
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN

SMALLEST = f"""\
trust_anchor_arn = "{TRUST_ANCHOR_ARN}"
profile_arn = "{PROFILE_ARN}"
role_arn = "{ROLE_ARN}"
certificate = "/tls.crt"
"""


def asked(
    toml: str, *argv: str, env: dict[str, str] | None = None, is_private: bool = True
) -> Invocation:
    """``serve`` with a config file."""

    def load(path: str) -> tuple[bytes, bool]:
        assert path == "c.toml"
        return toml.encode(), is_private

    return parse(["serve", "--config", "c.toml", *argv], env or {}, load=load)


def settings_of(toml: str, *argv: str, env: dict[str, str] | None = None) -> Settings:
    settings = asked(toml, *argv, env=env).settings
    assert isinstance(settings, Settings)
    return settings


def mistakes(toml: str, *argv: str, env: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(InvalidSettings) as caught:
        asked(toml, *argv, env=env)
    return caught.value.mistakes


def test_the_file_alone_is_enough() -> None:
    settings = settings_of(SMALLEST + 'imds = false\nport = 1234\ntoken_file = "/token"\n')
    assert (settings.imds, settings.port, settings.token_file) == (False, 1234, "/token")
    assert str(settings.role_arn) == ROLE_ARN


def test_a_flag_wins_over_the_environment_and_that_over_the_file() -> None:
    toml = SMALLEST + 'region = "eu-west-1"\nduration_seconds = 900\nport = 1\n'
    env = {"ROLESANYWHERE_DURATION_SECONDS": "1000", "ROLESANYWHERE_PORT": "2"}
    settings = settings_of(toml, "--port", "3", env=env)
    assert (settings.region, settings.duration_seconds, settings.port) == ("eu-west-1", 1000, 3)


def test_an_empty_variable_leaves_the_file_its_word_and_an_empty_flag_does_not() -> None:
    toml = SMALLEST + 'region = "eu-west-1"\n'
    assert settings_of(toml, env={"ROLESANYWHERE_REGION": ""}).region == "eu-west-1"
    assert settings_of(toml, "--region=").region is None


def test_the_environment_may_name_the_file() -> None:
    found = parse(
        ["serve"], {"ROLESANYWHERE_CONFIG": "c.toml"}, load=lambda _: (SMALLEST.encode(), True)
    )
    assert isinstance(found.settings, Settings)


def test_every_mistake_is_named_at_once_wherever_it_is() -> None:
    toml = (
        SMALLEST.replace("certificate", "certifikate")
        + 'duration_seconds = "900"\nimds = "true"\nport = 99999\nrole_session_name = 7\n[serve]\n'
    )
    assert mistakes(toml, "--prot", "1", env={"ROLESANYWHERE_REGION": "Ireland"}) == (
        "--prot: is not a flag of serve (see serve --help)",
        "c.toml: certifikate: is not a setting; did you mean certificate?",
        "c.toml: duration_seconds: is not a whole number without quotes",
        "c.toml: imds: is not true or false without quotes",
        "c.toml: role_session_name: is not a text in quotes",
        "c.toml: serve: is not a setting",
        "ROLESANYWHERE_REGION: 'Ireland' is not an AWS region name such as 'eu-west-1'",
        "--certificate (or ROLESANYWHERE_CERTIFICATE): is not set, expected the"
        f" {about('certificate')}",
        "c.toml: port: '99999' is not a port, expected 1 to 65535",
    )


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("port = = 1", "c.toml: is not TOML: Invalid value (at line 1, column 8)"),
        ("x = " + "[" * 5000, "c.toml: is not TOML"),
        ('private_key_password = "hunter2', "c.toml: is not TOML: "),
    ],
)
def test_what_is_no_toml_is_told_without_its_text(toml: str, says: str) -> None:
    first = mistakes(toml)[0]
    assert first.startswith(says)
    assert "hunter2" not in first


def test_bytes_that_are_no_text_are_told() -> None:
    found = configuration.read(b"\xff\xfe", where="c.toml")
    assert found.mistakes == ("c.toml: is not TOML, which is text in UTF-8",)


def test_a_value_of_the_wrong_kind_may_be_a_password_and_is_not_repeated() -> None:
    [mistake] = mistakes(SMALLEST + "private_key_password = 271828\n")
    assert mistake == "c.toml: private_key_password: is not a text in quotes"
    assert "271828" not in repr(configuration.read(b'private_key_password="271828"', where="c"))


def test_a_null_would_end_a_path_and_is_refused() -> None:
    [mistake] = mistakes(SMALLEST + 'token_file = "/a\\u0000b"\n')
    assert mistake == "c.toml: token_file: is not a text in quotes"


def test_a_time_may_be_a_time_of_tomls_own() -> None:
    quoted = settings_of(SMALLEST + 'start_after = "2026-01-31T12:00:00Z"\n')
    assert settings_of(SMALLEST + "start_after = 2026-01-31T12:00:00Z\n") == quoted
    [mistake] = mistakes(SMALLEST + "region = 2026-01-31T12:00:00Z\n")
    assert mistake == "c.toml: region: is not a text in quotes"


def test_a_file_that_is_missing_is_a_mistake_beside_the_others() -> None:
    def missing(_: str) -> tuple[bytes, bool]:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    with pytest.raises(InvalidSettings) as caught:
        parse(["serve", "--config", "/c.toml", "--port", "0"], {}, load=missing)
    first, *others = caught.value.mistakes
    assert first == "--config: the file cannot be read: No such file or directory"
    assert len(others) == 5


def test_a_password_that_others_may_read_is_a_warning() -> None:
    toml = SMALLEST + 'private_key_password = "hunter2"\n'
    [warning] = asked(toml, is_private=False).warnings
    assert warning == "c.toml: holds a password and others may read it; make its mode 0600"
    assert asked(toml).warnings == ()
    assert asked(SMALLEST, is_private=False).warnings == ()


@given(st.sampled_from(fields(Settings)), st.text())
def test_any_text_for_any_setting_is_read_or_told_of(setting: object, text: str) -> None:
    name = setting.name  # type: ignore[attr-defined]  # a dataclass field
    escaped = "".join(f"\\U{ord(each):08X}" for each in text)
    found = configuration.read(f'{name} = "{escaped}"'.encode(), where="c.toml")
    assert (name in found.texts) != bool(found.mistakes)


@given(st.binary())
def test_no_bytes_crash_it(content: bytes) -> None:
    configuration.read(content, where=str(Path("c.toml")))
