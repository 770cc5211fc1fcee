"""What ``credential-process`` prints, and how often it asks."""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.commands import credential_process
from rolesanywhere_sidecar.commands.credential_process import document, session_from
from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.failures import AccessDenied, ServiceUnavailable
from tests.fakes.world import PROFILE_ARN, ROLE_ARN, TRUST_ANCHOR_ARN

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
GOOD = Credentials(
    access_key_id="ASIAEXAMPLE",
    secret_access_key="secret",
    session_token="token",
    issued=NOW,
    expires=NOW + timedelta(hours=1),
    account_id="111122223333",
)
SETTINGS = Settings.from_env(
    {
        "ROLESANYWHERE_TRUST_ANCHOR_ARN": TRUST_ANCHOR_ARN,
        "ROLESANYWHERE_PROFILE_ARN": PROFILE_ARN,
        "ROLESANYWHERE_ROLE_ARN": ROLE_ARN,
        "ROLESANYWHERE_CERTIFICATE": "tls.crt",
    }
)
DOWN = ServiceUnavailable("down")


class Source:
    """Fails as told, then succeeds."""

    def __init__(self, *problems: RolesAnywhereError) -> None:
        self.problems = list(problems)
        self.asked = 0
        self.pauses: list[float] = []

    async def create_session(self) -> Credentials:
        self.asked += 1
        if self.problems:
            raise self.problems.pop(0)
        return GOOD

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


async def fetch(source: Source, draws: Iterable[float] = (0.0, 0.0)) -> Credentials:
    numbers = iter(draws)
    return await session_from(source, draw=lambda: next(numbers), pause=source.pause)


def test_the_document_is_what_sdks_read_from_a_process() -> None:
    assert json.loads(document(GOOD)) == {
        "Version": 1,
        "AccessKeyId": "ASIAEXAMPLE",
        "SecretAccessKey": "secret",
        "SessionToken": "token",
        "Expiration": "2026-03-14T10:26:53Z",
        "AccountId": "111122223333",
    }
    assert "\n" not in document(GOOD)


def test_the_expiration_is_in_utc_and_whole_seconds() -> None:
    east = timezone(timedelta(hours=9))
    odd = replace(GOOD, expires=datetime(2026, 3, 14, 19, 26, 53, 999, tzinfo=east))
    assert json.loads(document(odd))["Expiration"] == "2026-03-14T10:26:53Z"


@pytest.fixture(autouse=True)
def _logging_is_left_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_what_nobody_foresaw_is_one_sentence_with_its_kind_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def crash(_: Settings) -> Credentials:
        raise LookupError("hunter2")

    monkeypatch.setattr(credential_process, "_fetch", crash)
    assert credential_process.main(SETTINGS) == 1
    assert capsys.readouterr() == (
        "",
        "rolesanywhere-sidecar: Internal: an unforeseen LookupError; this is a bug: please report"
        " it\n",
    )


async def test_a_session_at_once_costs_one_request_and_no_pause() -> None:
    source = Source()
    assert await fetch(source) is GOOD
    assert (source.asked, source.pauses) == (1, [])


async def test_what_time_heals_is_asked_again_with_jitter() -> None:
    source = Source(DOWN, DOWN)
    assert await fetch(source, draws=(0.5, 0.9)) is GOOD
    assert source.asked == 3
    assert source.pauses == pytest.approx([0.75, 2.85])


async def test_three_failures_are_enough() -> None:
    last = ServiceUnavailable("still down")
    source = Source(DOWN, DOWN, last, DOWN)
    with pytest.raises(ServiceUnavailable) as caught:
        await fetch(source)
    assert caught.value is last
    assert source.asked == 3


async def test_what_time_does_not_heal_is_told_at_once() -> None:
    source = Source(AccessDenied("no"))
    with pytest.raises(AccessDenied):
        await fetch(source)
    assert (source.asked, source.pauses) == (1, [])
