"""How credentials stand, second by second."""

from datetime import timedelta

import pytest

from rolesanywhere_sidecar.credentials import Standing, standing
from tests.support.clocks import START
from tests.support.sessions import SECRET_ACCESS_KEY, SESSION_TOKEN, some_credentials

MARGIN = timedelta(seconds=1800)


@pytest.mark.parametrize(
    ("age", "verdict"),
    [
        (0, Standing.FRESH),
        (1799, Standing.FRESH),
        (1800, Standing.AGEING),
        (3599, Standing.AGEING),
        (3600, Standing.EXPIRED),
        (999_999, Standing.EXPIRED),
    ],
)
def test_an_hours_session_ages_at_its_margin_and_expires_at_its_end(
    age: int, verdict: Standing
) -> None:
    at = START + timedelta(seconds=age)
    assert standing(some_credentials(life=3600), at=at, margin=MARGIN) is verdict


def test_one_second_of_life_is_still_life() -> None:
    at = START + timedelta(seconds=3599)
    assert standing(some_credentials(), at=at, margin=MARGIN) is not Standing.EXPIRED


def test_nothing_held_stands_like_something_expired() -> None:
    assert standing(None, at=START, margin=MARGIN) is Standing.EXPIRED


def test_credentials_do_not_print_their_secrets() -> None:
    shown = f"{some_credentials()} {some_credentials()!r}"
    assert SECRET_ACCESS_KEY not in shown
    assert SESSION_TOKEN not in shown
