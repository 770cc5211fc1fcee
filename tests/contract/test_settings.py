"""The sidecar's settings survive the environment, and complain once about everything."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_contract.arns import ProfileArn, RoleArn, TrustAnchorArn
from rolesanywhere_contract.environment import LOG_LEVELS, InvalidSettings
from rolesanywhere_contract.settings import IdentitySettings, Settings, about, variable

UUID = "6f0a4a1e-4d0c-4a1e-9d2a-0c8f3d9f2b11"
ANCHOR = f"arn:aws:rolesanywhere:eu-west-1:111122223333:trust-anchor/{UUID}"
PROFILE = f"arn:aws:rolesanywhere:eu-west-1:111122223333:profile/{UUID}"
ROLE = "arn:aws:iam::111122223333:role/reports"

SMALLEST = {
    "ROLESANYWHERE_TRUST_ANCHOR_ARN": ANCHOR,
    "ROLESANYWHERE_PROFILE_ARN": PROFILE,
    "ROLESANYWHERE_ROLE_ARN": ROLE,
    "ROLESANYWHERE_CERTIFICATE": "/identity/tls.crt",
}

paths = st.none() | st.from_regex(r"/[ -~]{1,30}", fullmatch=True)
some_settings = st.builds(
    Settings,
    trust_anchor_arn=st.just(TrustAnchorArn.parse(ANCHOR)),
    profile_arn=st.just(ProfileArn.parse(PROFILE)),
    role_arn=st.just(RoleArn.parse(ROLE)),
    region=st.sampled_from([None, "eu-central-1"]),
    endpoint=st.sampled_from(
        [None, "https://vpce-1.example.com", "http://127.0.0.1:8443", "http://[::1]:80"]
    ),
    ca_bundle=paths,
    duration_seconds=st.integers(900, 43_200),
    role_session_name=st.none() | st.from_regex(r"[A-Za-z0-9_=,.@-]{2,80}", fullmatch=True),
    certificate=st.from_regex(r"[ -~]{1,30}", fullmatch=True),
    private_key=paths,
    intermediates=paths,
    session_file=paths,
    start_after=st.none()
    | st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive, values are not
    hop_limit=st.integers(1, 255),
    private_key_password_file=paths,
    cert_selector=st.none() | st.just("Key=x509Serial,Value=0A"),
    use_latest_expiring_certificate=st.booleans(),
    token_file=paths,
    port=st.integers(1, 32_000),
    probe_port=st.integers(32_001, 65_535),
    imds=st.booleans(),
    log_level=st.sampled_from(LOG_LEVELS),
)


hardware_settings = st.builds(
    replace,
    some_settings,
    private_key=st.just("pkcs11:token=node-hsm;object=reports"),
    pkcs11_module=paths,
    pin_file=paths,
    pin_latch_file=paths,
)


def mistakes_of(**env: str) -> tuple[str, ...]:
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env(SMALLEST | env)
    return caught.value.mistakes


@given(some_settings | hardware_settings)
def test_settings_survive_the_environment(settings: Settings) -> None:
    assert Settings.from_env(settings.to_env()) == settings


def test_defaults_are_left_out_of_the_environment() -> None:
    assert Settings.from_env(SMALLEST).to_env() == SMALLEST


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.from_env(SMALLEST | {"ROLESANYWHERE_REGION": ""}).region is None


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env({"ROLESANYWHERE_PROFILE_ARN": "oops", "ROLESANYWHERE_IMDS": "yes"})
    for name in ("TRUST_ANCHOR_ARN", "PROFILE_ARN", "ROLE_ARN", "CERTIFICATE", "IMDS"):
        assert f"ROLESANYWHERE_{name}: " in str(caught.value)
    assert len(caught.value.mistakes) == 5


def test_a_mistake_is_named_as_the_user_wrote_the_setting() -> None:
    with pytest.raises(InvalidSettings, match="--session-duration: '60' is not a session's length"):
        Settings.from_env(
            SMALLEST | {"ROLESANYWHERE_DURATION_SECONDS": "60"},
            called={"duration_seconds": "--session-duration"}.__getitem__,
        )


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("DURATION_SECONDS", "899", "expected 900 to 43200"),
        ("DURATION_SECONDS", "43201", "expected 900 to 43200"),
        ("DURATION_SECONDS", "1h", "'1h' is not a session's length in seconds"),
        ("DURATION_SECONDS", "3600.0", "expected 900 to 43200"),
        ("PIN_FILE", "/pin", "neither certificate nor private key is a pkcs11: URI"),
        ("PKCS11_MODULE", "/p11.so", "neither certificate nor private key is a pkcs11: URI"),
        ("CERTIFICATE", "/" + "x" * 4095, "has 4096 characters, expected a path of 4095 at most"),
        ("REGION", "Ireland", "not an AWS region name"),
        ("ENDPOINT", "http://vpce-1.example.com", "in the clear"),
        ("ENDPOINT", "https://example.com/prefix", "expected https://<host>[:<port>]"),
        ("ENDPOINT", "https://user@example.com", "expected https://<host>[:<port>]"),
        ("ENDPOINT", "rolesanywhere.example.com", "expected https://<host>[:<port>]"),
        ("ENDPOINT", "https://[::::]", "expected https://<host>[:<port>]"),
        ("ENDPOINT", "https://example.com:99999", "has port 99999, expected 1 to 65535"),
        ("ENDPOINT", "https://example.com:port", "expected https://<host>[:<port>]"),
        ("ROLE_SESSION_NAME", "a b", "not a role session name"),
        ("ROLE_SESSION_NAME", "$(HOSTNAME)", "not a role session name"),
        ("PORT", "0", "expected 1 to 65535"),
        ("PORT", "9912", "is the same as ROLESANYWHERE_PORT"),
        ("IMDS", "True", "neither 'true' nor 'false'"),
        ("LOG_LEVEL", "trace", "expected one of debug, info, warning, error"),
        ("PROFILE_ARN", PROFILE.replace("eu-west-1", "us-east-1"), "expected both in one region"),
        ("PROFILE_ARN", PROFILE.replace("1111", "4444"), "expected both in one account"),
        ("ROLE_ARN", ROLE.replace("aws", "aws-cn"), "expected both in one partition"),
    ],
)
def test_a_wrong_value_says_what_was_expected(name: str, text: str, sentence: str) -> None:
    (mistake,) = mistakes_of(**{f"ROLESANYWHERE_{name}": text})
    assert mistake.startswith("ROLESANYWHERE_")
    assert sentence in mistake


@pytest.mark.parametrize(
    "content",
    [
        "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEG\n-----END PRIVATE KEY-----\n",
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKY+1Yjy/q3Zk1fEw",
        "first line\nsecond line",
    ],
)
@pytest.mark.parametrize("name", ["PRIVATE_KEY", "CERTIFICATE", "PIN_FILE", "TOKEN_FILE"])
def test_content_in_place_of_a_path_is_refused_and_never_repeated(name: str, content: str) -> None:
    (mistake,) = mistakes_of(**{f"ROLESANYWHERE_{name}": content})
    assert mistake == f"ROLESANYWHERE_{name}: is the content of a file, expected the path of one"


@pytest.mark.parametrize("name", ["ROLESANYWHERE_CERTIFICATE", "ROLESANYWHERE_PRIVATE_KEY"])
def test_a_uri_that_is_none_is_named_by_its_setting_and_its_pin_never(name: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env(SMALLEST | {name: "pkcs11:token=a b?pin-value=483920"})
    assert f"{name}: the PKCS#11 URI has a character in token" in str(caught.value)
    assert "483920" not in str(caught.value)


def test_the_endpoint_follows_the_trust_anchor_unless_it_is_set() -> None:
    settings = Settings.from_env(SMALLEST)
    assert settings.service_url == "https://rolesanywhere.eu-west-1.amazonaws.com"
    moved: dict[str, Any] = {"endpoint": "https://vpce-1.example.com", "region": "eu-central-1"}
    settings = replace(settings, **moved)
    assert (settings.service_url, settings.signing_region) == tuple(moved.values())


def test_every_setting_says_what_it_is_for() -> None:
    for setting in fields(Settings):
        assert about(setting.name)
        assert variable(setting.name) == f"ROLESANYWHERE_{setting.name.upper()}"


def test_what_is_right_beside_a_mistake_is_kept_but_never_shown() -> None:
    wrong = {"ROLESANYWHERE_ROLE_ARN": "oops", "ROLESANYWHERE_PRIVATE_KEY_PASSWORD": "hunter2"}
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env(SMALLEST | wrong)
    assert caught.value.values["certificate"] == "/identity/tls.crt"
    assert "role_arn" not in caught.value.values
    assert "hunter2" not in f"{caught.value} {caught.value!r}"


def test_an_identity_alone_needs_nothing_of_what_is_to_be_assumed() -> None:
    wrong = {"ROLESANYWHERE_CERTIFICATE": "/tls.crt", "ROLESANYWHERE_ROLE_ARN": "oops"}
    assert IdentitySettings.from_env(wrong) == IdentitySettings(certificate="/tls.crt")
    with pytest.raises(InvalidSettings, match=r"^ROLESANYWHERE_CERTIFICATE: is not set"):
        IdentitySettings.from_env({})


def test_a_pin_in_a_uri_does_not_show_in_a_repr() -> None:
    uri = "pkcs11:token=node?pin-value=4711-0815"
    settings = Settings.from_env(
        {**SMALLEST, "ROLESANYWHERE_CERTIFICATE": uri, "ROLESANYWHERE_PRIVATE_KEY": uri}
    )
    assert "4711-0815" not in repr(settings)
