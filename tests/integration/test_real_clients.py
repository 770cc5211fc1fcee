"""Real AWS clients, unmodified and told by environment alone, on both endpoints of ``serve``.

Each of them meets a sidecar that is not there yet, gets its credentials, uses them with a service
that verifies signatures, and goes on when their session has ended: all beside a proxy that nobody
is at (rule 12 of test_endpoint_rules). docs/sdks.md tells what to know of each.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import pytest

from tests.support import clients, matrix
from tests.support.matrix import ENDPOINTS, Endpoint, Finding, Outcome, Pair
from tests.support.tools import skip

# These believe their own clock rather than the document, and ask again minutes later only: in a
# run of a minute, a new client must show that the next session is there. None is hurt in earnest,
# since `serve` renews a session of an hour when half an hour is left.
KEEPS_ITS_OWN_TIME: Final[Mapping[Pair, str]] = {
    (
        "boto3",
        "imds",
    ): "takes what ends within 25 minutes to end in 17 to 25, for 2 of them at least",
    ("pyarrow", "imds"): "asks the metadata service every 5 minutes",
}

EVERY_CLIENT: Final = pytest.mark.parametrize("name", clients.COMMANDS)
BOTH_ENDPOINTS: Final = pytest.mark.parametrize("endpoint", ENDPOINTS)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return asyncio.run(matrix.play(tmp_path_factory.mktemp("matrix")))


def finding(outcome: Outcome, name: str, endpoint: Endpoint) -> Finding:
    if name in outcome.missing:
        skip(outcome.missing[name])
    return outcome.findings[name, endpoint]


@EVERY_CLIENT
@BOTH_ENDPOINTS
def test_it_is_who_its_session_says(outcome: Outcome, name: str, endpoint: Endpoint) -> None:
    found = finding(outcome, name, endpoint)
    assert found.first.error == ""
    assert found.first.arn == outcome.sessions[found.first.key].session.assumed_role_arn


@EVERY_CLIENT
@BOTH_ENDPOINTS
def test_it_survives_a_sidecar_that_starts_late(
    outcome: Outcome, name: str, endpoint: Endpoint
) -> None:
    """By its own retries, or by the application's."""
    found = finding(outcome, name, endpoint)
    assert found.early.error or found.early == found.first
    assert found.first.key in outcome.sessions


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [(name, endpoint) for name in clients.COMMANDS for endpoint in ENDPOINTS
     if (name, endpoint) not in KEEPS_ITS_OWN_TIME],
)  # fmt: skip
def test_it_goes_on_when_its_session_has_ended(
    outcome: Outcome, name: str, endpoint: Endpoint
) -> None:
    found = finding(outcome, name, endpoint)
    assert found.later.error == ""
    assert outcome.sessions[found.first.key].session.expires <= found.asked_later
    assert outcome.sessions[found.later.key].session.expires > found.asked_later


@EVERY_CLIENT
@BOTH_ENDPOINTS
def test_made_anew_it_gets_the_next_session(
    outcome: Outcome, name: str, endpoint: Endpoint
) -> None:
    found = finding(outcome, name, endpoint)
    assert found.anew.error == ""
    assert outcome.sessions[found.anew.key].session.expires > found.asked_later


def test_all_of_them_together_cost_a_session_for_each_half_of_its_life(outcome: Outcome) -> None:
    assert 2 <= len(outcome.sessions) <= 5


def test_none_of_them_made_the_sidecar_log_a_secret_or_a_failure(outcome: Outcome) -> None:
    for issued in outcome.sessions.values():
        assert issued.secret_access_key not in outcome.log
        assert issued.session_token not in outcome.log
    assert "request failed" not in outcome.log
    assert "request turned away" not in outcome.log
