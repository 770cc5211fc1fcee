"""Flags and environment become settings, and every mistake is told at once."""

import re
import shlex
from dataclasses import MISSING, Field, fields
from importlib.metadata import version
from typing import Any

import pytest

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.settings import IdentitySettings, Settings, about, variable
from rolesanywhere_sidecar.commands.table import COMMANDS, GROUPS, REFUSED, flag
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
    "pin_latch_file": "/latch",
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
    "argv",
    [
        ["--tpm-key-pasword", "hunter2"],
        ["--tpm-key-pasword=hunter2"],
        ["--pkcs8-password", "-hunter2"],
        ["--private-key-password", "--hunter2"],
        ["--private-key-password", "correct", "hunter2"],
    ],
)
def test_what_may_be_a_secret_is_not_repeated(argv: list[str]) -> None:
    [mistake] = mistakes(["credential-process", *argv])
    assert "hunter2" not in mistake


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["sevre"], "'sevre' is no command, expected serve, "),
        (["--region", "eu-west-1", "serve"], "a command is missing, expected serve, "),
        (["serve", "--port"], "--port: expected a value after it; "),
        (["serve", "--port", "--imds"], "--port: expected a value after it; "),
        (["serve", "now"], "word 1 after serve: serve takes flags only"),
    ],
)
def test_a_command_line_that_is_none_is_a_mistake_not_an_exit(argv: list[str], says: str) -> None:
    [mistake] = mistakes(argv)
    assert says in mistake


@pytest.mark.parametrize("command", ["read-certificate-data", "sign-string"])
def test_who_asks_for_nothing_of_aws_needs_no_arn(command: str) -> None:
    found = asked([command, "--certificate", "/tls.pem"], {"ROLESANYWHERE_ROLE_ARN": "oops"})
    assert found.settings == IdentitySettings(certificate="/tls.pem")


def test_to_sign_a_key_is_enough() -> None:
    argv = "sign-string --private-key client-key.pem --format text --digest SHA512"
    found = asked(argv.split(), {})
    assert isinstance(found.settings, IdentitySettings)
    assert found.settings.private_key == "client-key.pem"
    assert found.options == {"format": "text", "digest": "SHA512"}
    [mistake] = mistakes(["sign-string"], {})
    assert mistake.startswith("--certificate (or ROLESANYWHERE_CERTIFICATE): is not set")


def test_options_have_defaults_and_choices() -> None:
    assert asked(["update"], ENV).options == {"profile": "default", "once": "false"}
    update = asked(["update", "--once", "--profile", "my team"], ENV)
    assert update.options == {"profile": "my team", "once": "true"}
    assert mistakes(["sign-string", "--digest", "SHA1", "--certificate", "/c"]) == (
        "--digest: 'SHA1' is none of SHA256, SHA384, SHA512",
    )
    assert mistakes(["update", "--once", "maybe", "--profile", "a]b"]) == (
        "--profile: 'a]b' is no profile",
        "--once: 'maybe' is none of true, false",
    )


@pytest.mark.parametrize("name", ["imds", "use_latest_expiring_certificate"])
@pytest.mark.parametrize(
    ("more", "expected"), [([], True), (["true"], True), (["false"], False), (["--port=1"], True)]
)
def test_what_is_true_or_false_may_stand_alone(name: str, more: list[str], expected: bool) -> None:
    env = {**ENV, "ROLESANYWHERE_TOKEN_FILE": "/token"}
    assert getattr(told(["serve", flag(name), *more], env), name) is expected


@pytest.mark.parametrize("command", ["serve", "credential-process", "update", "sign-string"])
def test_what_the_helper_takes_in_vain_is_taken(command: str) -> None:
    assert asked([command, "--with-proxy", "--debug", "--reuse-pin"], ENV).command == command
    assert mistakes([command, "--with-proxy=yes"]) == (
        "--with-proxy: 'yes' is neither 'true' nor 'false'",
    )


@pytest.mark.parametrize("command", ["serve", "credential-process", "update", "sign-string"])
def test_flags_for_keys_in_a_token_are_taken_beside_a_file_and_warned_of(command: str) -> None:
    argv = "--tpm-key-password hunter2 --no-tpm-key-password --pkcs11-lib /x.so"
    found = asked([command, *argv.split()], ENV)
    assert found.warnings == (
        "--pkcs11-lib: is without effect, because the private key is a file",
        "--tpm-key-password: is without effect, because the private key is a file",
    )


def test_tls_that_is_verified_after_all_is_no_mistake() -> None:
    assert asked(["serve", "--no-verify-ssl=false"], ENV).command == "serve"
    for argv in (["--no-verify-ssl"], ["--no-verify-ssl", "true"]):
        [mistake] = mistakes(["serve", *argv], ENV)
        assert mistake.startswith("--no-verify-ssl: TLS is always verified")


def test_a_handle_of_a_tpm_is_told_how_its_keys_are_used() -> None:
    [mistake] = mistakes(["serve", "--private-key", "handle:0x81000001"], ENV)
    assert mistake.startswith("--private-key: is a handle of a key in a TPM, whose keys are")
    assert "by PKCS#11 alone" in mistake


def test_a_selector_may_stand_as_awss_helper_documents_it() -> None:
    unquoted = ["--cert-selector", "Key=x509Subject,Value=CN=a", "Key=x509Issuer,Value=CN=b"]
    selector = told(["serve", *unquoted]).cert_selector
    assert selector == told(["serve", unquoted[0], " ".join(unquoted[1:])]).cert_selector
    assert selector is not None


@pytest.mark.parametrize("command", ["serve", "credential-process", "update"])
def test_doctor_takes_every_flag_of_a_command_that_it_is_asked_about(command: str) -> None:
    about = COMMANDS[command]
    for name in (*about.settings, *about.options):
        value = "true" if name in about.options else "x"
        argv = ["doctor", flag(name), VALUES.get(name, value)]
        assert asked(argv, ENV).command == "doctor"


def test_debug_is_a_log_level_unless_one_is_named() -> None:
    assert told(["serve", "--debug"]).log_level == "debug"
    assert told(["serve", "--debug=false"]).log_level == "info"
    assert told(["serve", "--debug", "--log-level", "error"]).log_level == "error"
    env = {**ENV, "ROLESANYWHERE_LOG_LEVEL": "error"}
    assert told(["serve", "--debug"], env).log_level == "debug"


@pytest.mark.parametrize("name", ["--pkcs8-password", "--private-key-password"])
def test_a_password_on_the_command_line_works_and_is_warned_of(name: str) -> None:
    found = asked(["serve", name, "open sesame"], ENV)
    assert isinstance(found.settings, Settings)
    assert found.settings.private_key_password == "open sesame"
    [warning] = found.warnings
    assert warning.startswith(f"{name}: everybody on this machine can read a command line; name a")
    for shown in (repr(found), warning):
        assert "sesame" not in shown
    env = {**ENV, "ROLESANYWHERE_PRIVATE_KEY_PASSWORD": "open sesame"}
    assert asked(["serve"], env).warnings == ()


def test_doctor_is_handed_the_mistakes_but_its_own() -> None:
    found = asked(["doctor", "--offline", "--output=json"], {**ENV, "ROLESANYWHERE_PORT": "0"})
    assert isinstance(found.settings, InvalidSettings)
    assert [text.partition(":")[0] for text in found.settings.mistakes] == ["ROLESANYWHERE_PORT"]
    assert found.settings.values["certificate"] == "/tls.crt"
    assert found.options == {"offline": "true", "output": "json"}
    assert mistakes(["doctor", "--ofline"], {"ROLESANYWHERE_PORT": "0"}) == (
        "--ofline: is not a flag of doctor (see doctor --help)",
    )


def test_doctor_is_told_of_a_config_file_that_cannot_be_read() -> None:
    found = asked(["doctor", "--config", "/none"], ENV)
    assert isinstance(found.settings, InvalidSettings)
    assert found.settings.values["certificate"] == "/tls.crt"


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["help"]])
def test_help_tells_of_the_commands(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = helped(*argv, capsys=capsys)
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


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_page_shows_what_its_command_takes_and_fits_eighty_columns(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        asked([command, "--port", "1", "--help"], {})
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    about = COMMANDS[command]
    shown = set(re.findall(r"^  (--[a-z0-9-]+)", text, re.MULTILINE))
    own = {flag(name) for name in (*about.settings, *about.options)}
    assert shown == own | ({"--config"} if about.needs else set())
    assert f"Example:\n\n  rolesanywhere-sidecar {command}" in text


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"probe", "version"}))
def test_the_example_of_each_page_is_right(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        asked([command, "--help"], {})
    _, _, rest = capsys.readouterr().out.partition("Example:\n\n  rolesanywhere-sidecar ")
    example = rest.partition("\n\n")[0].replace("\\\n", "")
    example = example.replace("UUID", TRUST_ANCHOR_ARN[-36:])
    assert asked(shlex.split(example), {}).command == command


def test_every_setting_belongs_to_one_group_of_the_help() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(setting.name for setting in fields(Settings))


@pytest.mark.parametrize("argv", [["version"], ["--version"]])
def test_version_is_that_of_the_package(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert helped(*argv, capsys=capsys) == f"rolesanywhere-sidecar {version('rolesanywhere')}"
