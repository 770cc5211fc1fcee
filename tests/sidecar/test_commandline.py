"""Flags and environment become settings, and every mistake is told at once."""

from dataclasses import MISSING, Field, fields
from importlib.metadata import version
from typing import Any

import pytest

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.settings import Settings, about, variable
from rolesanywhere_sidecar.commands import COMMANDS, REFUSED, flag
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN
from tests.support.commandlines import asked, settings_of

ENV = {
    "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
    "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
    "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
    "ROLESANYWHERE_CERTIFICATE": "/tls.crt",
}

# Something that each setting accepts and that is not its default.
VALUES = {
    "trust_anchor_arn": TRUST_ANCHOR_ARN,
    "profile_arn": PROFILE_ARN,
    "role_arn": ROLE_ARN,
    "region": "eu-central-1",
    "endpoint": "https://example.com:8443",
    "ca_bundle": "/ca.pem",
    "duration_seconds": "900",
    "role_session_name": "team-a.web",
    "certificate": "/other.crt",
    "private_key": "pkcs11:token=node-hsm;object=reports",
    "intermediates": "/chain.pem",
    "pkcs11_module": "/module.so",
    "pin_file": "/pin",
    "private_key_password_file": "/password",
    "private_key_password": "open sesame",
    "cert_selector": "Key=x509Serial,Value=0A",
    "use_latest_expiring_certificate": "true",
    "session_file": "/session",
    "start_after": "2026-11-21T12:00:00Z",
    "hop_limit": "1",
    "token_file": "/token",
    "port": "1234",
    "probe_port": "1235",
    "imds": "false",
    "log_level": "debug",
}


def told(argv: list[str], env: dict[str, str] | None = None) -> Settings:
    return settings_of(argv, ENV if env is None else env)


def mistakes(argv: list[str], env: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(InvalidSettings) as caught:
        asked(argv, ENV if env is None else env)
    return caught.value.mistakes


def helped(*argv: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        asked(argv, {})
    assert caught.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", ["serve", "credential-process", "update", "doctor"])
def test_the_environment_alone_is_enough(command: str) -> None:
    assert asked([command], ENV).command == command
    assert told([command]) == Settings.from_env(ENV)


def test_every_setting_has_a_flag() -> None:
    assert set(VALUES) == {setting.name for setting in fields(Settings)}
    argv = [word for name, text in VALUES.items() for word in (flag(name), text)]
    expected = Settings.from_env({variable(name): text for name, text in VALUES.items()})
    assert told(["serve", *argv], {}) == expected


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_flag_wins_over_its_variable(name: str) -> None:
    before = {"ROLESANYWHERE_TOKEN_FILE": "/before", "ROLESANYWHERE_PRIVATE_KEY": "pkcs11:token=t"}
    env = ENV | before
    expected = Settings.from_env({**env, variable(name): VALUES[name]})
    assert told(["serve", f"{flag(name)}={VALUES[name]}"], env) == expected


def test_without_a_command_the_commands_are_named() -> None:
    assert mistakes([]) == (
        "a command is missing, expected serve, credential-process, update, read-certificate-data,"
        " sign-string, doctor, probe or version (see rolesanywhere-sidecar --help)",
    )


def test_awss_helpers_own_command_line_works_here() -> None:
    argv = (
        "credential-process --certificate /c.pem --private-key pkcs11:token=t"
        " --intermediates /i.pem"
        f" --trust-anchor-arn {TRUST_ANCHOR_ARN} --profile-arn {PROFILE_ARN} --role-arn {ROLE_ARN}"
        " --session-duration 1800 --region eu-west-1 --endpoint https://example.com"
        " --role-session-name me.x --pkcs11-lib /m.so"
    )
    settings = told(argv.split(), {})
    assert settings.duration_seconds == 1800
    assert settings.pkcs11_module == "/m.so"
    assert settings.intermediates == "/i.pem"


def test_an_empty_flag_takes_back_what_the_environment_sets() -> None:
    env = {**ENV, "ROLESANYWHERE_REGION": "eu-west-3"}
    assert told(["serve", "--region", ""], env).region is None


def test_every_mistake_is_told_at_once_as_the_user_wrote_it() -> None:
    found = mistakes(
        ["serve", "--session-duration", "5", "--prot", "1", "--imds", "yes"],
        {
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": "oops",
            "ROLESANYWHERE_CERTIFICATE": "/tls.crt",
            "ROLESANYWHERE_DURATION_SECONDS": "3600",
        },
    )
    assert [sentence.partition(":")[0] for sentence in found] == [
        "--prot",
        "ROLESANYWHERE_PROFILE_ARN",
        "--role-arn (or ROLESANYWHERE_ROLE_ARN)",
        "--session-duration",
        "--imds",
    ]


def test_to_serve_nobody_is_a_mistake_of_serve_alone() -> None:
    off = {**ENV, "ROLESANYWHERE_IMDS": "false"}
    assert mistakes(["serve"], off) == (
        "ROLESANYWHERE_IMDS: is false while --token-file (or ROLESANYWHERE_TOKEN_FILE) is not set,"
        " so that nobody could be served; name a token file, or leave IMDS on",
    )
    [mistake] = mistakes(["serve", "--imds", "false", "--token-file", ""])
    assert mistake.startswith("--imds: is false while --token-file is not set")
    assert told(["serve", "--token-file", "/token"], off).imds is False
    assert told(["credential-process"], off).imds is False


def test_a_mistake_without_any_other_is_enough() -> None:
    assert mistakes(["serve", "--prot", "1"]) == (
        "--prot: is not a flag of serve (see serve --help)",
    )


def test_flags_are_not_guessed_from_their_beginnings() -> None:
    assert mistakes(["serve", "--role-ar", ROLE_ARN]) == (
        "--role-ar: is not a flag of serve (see serve --help)",
    )


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_takes_its_own_settings_and_no_other(command: str) -> None:
    for name in VALUES.keys() - COMMANDS[command].settings:
        if command != "version":
            [mistake] = mistakes([command, flag(name), VALUES[name]])
            assert mistake == f"{flag(name)}: is not a flag of {command} (see {command} --help)"


def test_what_only_serve_needs_is_no_flag_of_credential_process() -> None:
    serve, process = (COMMANDS[name].settings for name in ("serve", "credential-process"))
    assert serve - process == {
        "start_after", "token_file", "port", "probe_port", "hop_limit", "imds", "log_level",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_flag_of_awss_helper_without_a_place_here_is_answered(name: str) -> None:
    [mistake] = mistakes(["credential-process", name])
    assert mistake == f"{name}: {REFUSED[name]}"


@pytest.mark.parametrize(
    "argv", [["--tpm-key-password", "hunter2"], ["--tpm-key-password=hunter2"]]
)
def test_what_may_be_a_secret_is_not_repeated(argv: list[str]) -> None:
    [mistake] = mistakes(["credential-process", *argv])
    assert "hunter2" not in mistake


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["sevre"], "'sevre' is no command, expected serve, "),
        (["--region", "eu-west-1", "serve"], "a command is missing, expected serve, "),
        (["serve", "--port"], "--port: expected a value after it (see serve --help)"),
        (["serve", "--port", "--imds"], "--port: expected a value after it (see serve --help)"),
        (["serve", "now"], "'now': serve takes flags only"),
    ],
)
def test_a_command_line_that_is_none_is_a_mistake_not_an_exit(argv: list[str], says: str) -> None:
    [mistake] = mistakes(argv)
    assert says in mistake


def test_help_tells_of_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped("--help", capsys=capsys)
    assert "Trade an X.509 certificate for temporary AWS credentials" in text
    for name, command in COMMANDS.items():
        assert f"{name} {command.purpose}" in text


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_help_tells_of_each_setting(
    setting: Field[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    name = setting.name
    text = helped("serve", "--help", capsys=capsys)
    assert flag(name) in text
    assert about(name) in text
    assert (setting.default is MISSING) == (f"{about(name)} (required)" in text)


def test_help_shows_defaults_and_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped("credential-process", "--help", capsys=capsys)
    assert "(default: 3600)" in text
    assert "--session-duration" in text
    assert "--probe-port" not in text
    assert "\\ --trust-anchor-arn \\ arn:aws:rolesanywhere:" in text
    assert "--log-level" not in text
    served = helped("serve", "--help", capsys=capsys)
    assert "(default: true)" in served
    assert "(default: info)" in served


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert helped("version", capsys=capsys) == f"rolesanywhere-sidecar {version('rolesanywhere')}"
