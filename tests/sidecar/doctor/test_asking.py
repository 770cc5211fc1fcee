"""What is said of a session, or of its refusal."""

from datetime import UTC, datetime, timedelta

from rolesanywhere_contract.settings import Settings
from rolesanywhere_sidecar.doctor.asking import Answer, judge
from rolesanywhere_sidecar.doctor.findings import Check, Finding
from rolesanywhere_sidecar.failures import AccessDenied
from tests.support.examined import FAILURE, OK, SETTINGS, WARNING, of, troubles

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
ASSUMED = "arn:aws:sts::111122223333:assumed-role/reports/2a"


def granted(seconds: float, *, certificate_ends: datetime | None = None) -> list[Finding]:
    expires = NOW + timedelta(seconds=seconds)
    answer = Answer(account="111122223333", assumed_role_arn=ASSUMED, issued=NOW, expires=expires)
    return judge(answer, Settings.from_env(SETTINGS), certificate_ends=certificate_ends)


def test_a_session_says_whose_it_is_and_until_when() -> None:
    found = granted(3600)
    assert troubles(found) == []
    assert ASSUMED in of(found, Check.CREATE_SESSION).sentence
    assert "until 2026-03-14 10:26:53Z" in of(found, Check.SESSION_LENGTH).sentence


def test_a_second_of_rounding_is_not_short() -> None:
    assert troubles(granted(3599)) == []


def test_a_session_shorter_than_asked_for_is_a_warning() -> None:
    found = of(granted(900), Check.SESSION_LENGTH)
    assert found.verdict is WARNING
    assert "900 seconds, but 3600 were asked for" in found.sentence


def test_a_session_that_outlives_its_certificate_is_well_and_told() -> None:
    found = of(granted(3600, certificate_ends=NOW + timedelta(minutes=5)), Check.SESSION_LENGTH)
    assert found.verdict is OK
    assert "longer than the certificate, which is allowed" in found.sentence


def test_a_refusal_is_the_services_words_and_what_to_do() -> None:
    problem = AccessDenied("CreateSession answered 403 with no", hint="ask")
    [found] = judge(Answer(problem=problem), Settings.from_env(SETTINGS), certificate_ends=None)
    assert (found.verdict, found.check) == (FAILURE, Check.CREATE_SESSION)
    assert found.sentence == "AccessDenied: CreateSession answered 403 with no"
    assert found.remedy == "ask"


def test_a_refusal_without_a_hint_still_says_where_to_look() -> None:
    [found] = judge(
        Answer(problem=AccessDenied("no")), Settings.from_env(SETTINGS), certificate_ends=None
    )
    assert "docs/troubleshooting.md" in found.remedy
