"""How long a review may take, by what the API server says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_operator.webhook.patience import patience


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        ("10s", 8.0),
        ("1s", 0.8),
        ("2.5s", 2.0),
        ("500ms", 0.4),
        ("0m5s", 4.0),
        ("30s", 24.0),
        ("1h0m0s", 24.0),
    ],
)
def test_we_take_less_than_the_api_server_waits(timeout: str, seconds: float) -> None:
    assert patience(timeout) == pytest.approx(seconds)


@pytest.mark.parametrize("nothing", [None, "", "0s", "10", "s", "-5s", "soon", "5s later"])
def test_what_is_no_duration_counts_as_the_usual_one(nothing: str | None) -> None:
    assert patience(nothing) == 8.0


@given(st.text())
def test_whatever_is_said_patience_has_its_limits(text: str) -> None:
    assert 0 < patience(text) <= 24
