"""No secret in any line of the log."""

import json
import logging
from collections.abc import Iterator

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.documents import credentials_document
from rolesanywhere_sidecar.redaction import REDACTED, Redaction
from rolesanywhere_sidecar.renewal.problems import Problem
from rolesanywhere_sidecar.service.sessions import Reply as ServiceReply
from rolesanywhere_sidecar.serving.bearer import BearerToken
from rolesanywhere_sidecar.serving.exchange import json_reply
from rolesanywhere_sidecar.serving.imds import SessionTokens
from tests.fakes.pki import Authority, Identity
from tests.sidecar.asking import an_ask
from tests.support import logs
from tests.support.clocks import START
from tests.support.logs import Written
from tests.support.sessions import SECRET_ACCESS_KEY, SESSION_TOKEN, some_credentials

TOKEN = "Zq3" * 14 + "-"
log = logging.getLogger("rolesanywhere_sidecar.test")


@pytest.fixture
def redaction() -> Redaction:
    return Redaction()


@pytest.fixture
def written(redaction: Redaction) -> Iterator[Written]:
    """The log so far, at its most talkative."""
    with logs.written(redact=redaction) as so_far:
        yield so_far


@pytest.fixture(scope="module")
def identity() -> Identity:
    return Authority.root(at=START).leaf(at=START)


def everything_we_have(identity: Identity) -> dict[str, object]:
    """Each object that holds a secret, by what it is."""
    credentials = some_credentials()
    body = json.dumps(credentials_document(credentials)).encode()
    return {
        "credentials": credentials,
        "token": BearerToken(TOKEN),
        "identity": identity,
        "key": identity.key,
        "ask": an_ask("/v1/credentials", Authorization=TOKEN),
        "reply": json_reply(200, credentials_document(credentials)),
        "service_reply": ServiceReply(201, {}, body),
        "tokens": SessionTokens(key=b"k" * 32, monotonic=lambda: 0.0),
        "problem": Problem("AccessDenied", "no"),
        "error": RolesAnywhereError("no", hint="none"),
    }


def secrets_of(identity: Identity) -> list[str]:
    key = identity.key_pem().decode().splitlines()[1:-1]
    return [SECRET_ACCESS_KEY, SESSION_TOKEN, TOKEN, *key]


def test_no_object_that_we_have_prints_a_secret_even_with_nothing_redacted(
    identity: Identity,
) -> None:
    shown = "\n".join(f"{one} {one!r}" for one in everything_we_have(identity).values())
    assert [secret for secret in secrets_of(identity) if secret in shown] == []


def test_no_object_that_we_have_can_be_logged_into_a_secret(
    written: Written, identity: Identity
) -> None:
    for name, one in everything_we_have(identity).items():
        log.debug("has %s", one, extra={name: one, "listed": [one], "mapped": {"of": one}})
    assert len(written.lines()) == 10
    assert [secret for secret in secrets_of(identity) if secret in written.text()] == []


def test_what_was_learned_is_redacted_wherever_it_turns_up(
    written: Written, redaction: Redaction
) -> None:
    redaction.learn(TOKEN, SECRET_ACCESS_KEY)
    log.info("a %s", TOKEN, extra={"b": f"<{SECRET_ACCESS_KEY}>", "c": [TOKEN], TOKEN: 1})
    try:
        raise ValueError(TOKEN)
    except ValueError:
        log.exception("crashed")
    assert TOKEN not in written.text()
    assert SECRET_ACCESS_KEY not in written.text()
    assert written.lines()[0]["b"] == f"<{REDACTED}>"


@pytest.mark.parametrize(
    "wrapping",
    ['{{"secretAccessKey": "{}"}}', '{{"SecretAccessKey":"{}"}}', "secret_access_key='{}'",
     '"{{\\"sessionToken\\":\\"{}\\"}}"', "SessionToken: {}", "Authorization: {}"],
)  # fmt: skip
def test_a_secret_that_nobody_told_of_is_known_by_the_name_before_it(wrapping: str) -> None:
    assert SECRET_ACCESS_KEY not in Redaction()(wrapping.format(SECRET_ACCESS_KEY))


def test_a_session_token_is_known_by_its_length() -> None:
    assert Redaction()(f"got {SESSION_TOKEN}.") == f"got {REDACTED}."


def test_a_private_key_is_known_by_its_armour(written: Written, identity: Identity) -> None:
    log.info("read", extra={"content": f"before {identity.key_pem('sec1').decode()} after"})
    assert written.lines()[0]["content"] == f"before {REDACTED}\n after"


@pytest.mark.parametrize(
    "innocent",
    [
        "arn:aws:rolesanywhere:eu-west-1:111122223333:profile/5f1c9a6e-77b1-4c1e-8a51-2d9f0b8c4e22",
        "/var/run/secrets/rolesanywhere-identity/tls.crt cannot be read: No such file",
        "serial 727388117297164713361826471836461826471",
        "the Authorization header is not this sidecar's token",
    ],
)
def test_what_a_user_needs_to_read_is_left_alone(innocent: str) -> None:
    assert Redaction()(innocent) == innocent


def test_an_empty_secret_does_not_redact_everything(redaction: Redaction) -> None:
    redaction.learn("", "a")
    assert redaction("a sentence") == "a sentence"


def test_a_thousand_sessions_later_the_token_is_still_redacted(redaction: Redaction) -> None:
    redaction.learn(TOKEN, lasting=True)
    for number in range(1000):
        redaction.learn(f"{number:040}")
    assert f"{999:040}" not in redaction(f"{999:040}")
    assert TOKEN not in redaction(f"token {TOKEN}")


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:token=t?pin-value={}",
        "Settings(private_key='pkcs11:token=t?pin-value={}')",
        "pkcs11:token=t?module-name=m&pin-value={}&x=1",
    ],
)
def test_the_pin_in_a_uri_is_kept_out_however_short_it_is(text: str) -> None:
    told = Redaction()(text.format("1234"))
    assert "1234" not in told
    assert told.startswith(text.partition("{}")[0])
