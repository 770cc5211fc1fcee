"""What somebody who starts ``serve`` by hand is told to export."""

import subprocess

import pytest

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.serving.invitation import invitation
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN

CONTAINER = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
METADATA = "AWS_EC2_METADATA_SERVICE_ENDPOINT"


def settings(*, imds: bool) -> Settings:
    return Settings.from_env(
        {
            "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
            "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
            "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
            "ROLESANYWHERE_CERTIFICATE": "/tls.crt",
            "ROLESANYWHERE_PORT": "9000",
            "ROLESANYWHERE_IMDS": str(imds).lower(),
        }
    )


def exported(text: str) -> dict[str, str]:
    """What a shell has in its environment when the lines that say so were pasted."""
    pasted = "\n".join(line for line in text.splitlines() if line.startswith("  export "))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{pasted}\nenv -0"], env={}, capture_output=True, text=True, check=True
    )
    pairs = (pair.partition("=") for pair in done.stdout.split("\0"))
    return {name: value for name, _, value in pairs if name.startswith("AWS_")}


@pytest.mark.parametrize("path", ["/run/token", "/my folder/it's $HOME `id`/token"])
def test_both_ways_are_told_and_a_shell_takes_them_as_they_are(path: str) -> None:
    text = invitation(settings(imds=True), token_file=path)
    assert exported(text) == {
        CONTAINER: "http://127.0.0.1:9000/v1/credentials",
        TOKEN_FILE: path,
        METADATA: "http://127.0.0.1:9000/",
    }
    assert "or, with IMDSv2:" in text


def test_without_a_token_file_there_is_imds_alone() -> None:
    text = invitation(settings(imds=True), token_file=None)
    assert exported(text) == {METADATA: "http://127.0.0.1:9000/"}


def test_without_imds_there_are_container_credentials_alone() -> None:
    text = invitation(settings(imds=False), token_file="/run/token")
    assert exported(text).keys() == {CONTAINER, TOKEN_FILE}
    assert "IMDS" not in text


def test_with_neither_it_is_said_that_nobody_is_served() -> None:
    text = invitation(settings(imds=False), token_file=None)
    assert exported(text) == {}
    assert text.startswith("Nobody is given credentials: container credentials need --token-file")
