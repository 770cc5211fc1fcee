"""Liveness and readiness as the kubelet sees them."""

from dataclasses import dataclass

import pytest

from rolesanywhere_sidecar.credentials import Credentials
from rolesanywhere_sidecar.renewal.problems import Problem
from rolesanywhere_sidecar.serving.exchange import Reply
from rolesanywhere_sidecar.serving.probes import Probes
from tests.sidecar.asking import an_ask
from tests.support.sessions import SECRET_ACCESS_KEY, SESSION_TOKEN, some_credentials


@dataclass
class Work:
    is_stuck: bool = False


def ask(
    target: str,
    *,
    held: Credentials | None = None,
    problem: Problem | None = None,
    work: Work | None = None,
    method: str = "GET",
) -> Reply:
    probes = Probes(
        current=lambda: held,
        problem=lambda: problem,
        prospect=lambda: "next attempt in 12 s",
        metrics=lambda: Reply(200, "metric 1\n", "text/plain; version=0.0.4"),
        background=(Work(), work or Work()),
        redact=lambda text: text.replace(SECRET_ACCESS_KEY, "[redacted]"),
    )
    # The kubelet calls the pod's address, not loopback.
    return probes.answer(an_ask(target, method=method, host="10.1.2.3:9912"))


def test_holding_credentials_is_being_ready() -> None:
    assert ask("/readyz", held=some_credentials()) == Reply(200, "ready\n")


def test_a_failed_renewal_does_not_end_readiness_but_is_told() -> None:
    problem = Problem("Throttled", "too fast")
    assert ask("/readyz", held=some_credentials(), problem=problem) == Reply(
        200, "ready, for now: Throttled: too fast; next attempt in 12 s\n"
    )


def test_before_the_first_session_readiness_says_what_is_waited_for() -> None:
    assert ask("/readyz") == Reply(503, "no credentials yet: next attempt in 12 s\n")


def test_metrics_are_told_to_whoever_asks() -> None:
    assert ask("/metrics") == Reply(200, "metric 1\n", "text/plain; version=0.0.4")


def test_without_credentials_readiness_says_why_on_one_line() -> None:
    problem = Problem("AccessDenied", "the role\ntrusts another anchor")
    assert ask("/readyz", problem=problem) == Reply(
        503, "no credentials: AccessDenied: the role trusts another anchor; next attempt in 12 s\n"
    )


def test_being_alive_has_nothing_to_do_with_aws() -> None:
    assert ask("/livez", problem=Problem("Throttled", "too fast")) == Reply(200, "alive\n")


def test_background_work_that_is_stuck_ends_liveness() -> None:
    assert ask("/livez", work=Work(is_stuck=True)) == Reply(503, "stuck: Work\n")


@pytest.mark.parametrize("target", ["/", "/metricz", "/livez/more", "/v1/credentials", "/latest"])
def test_there_is_nothing_else_on_the_probe_port(target: str) -> None:
    assert ask(target, held=some_credentials()) == Reply(404)


def test_a_probe_is_for_reading_only() -> None:
    assert ask("/livez", method="POST").status == 405
    assert ask("/livez", method="HEAD").status == 200


def test_no_probe_shows_a_secret() -> None:
    for target in ("/livez", "/readyz"):
        body = ask(target, held=some_credentials()).body
        assert SECRET_ACCESS_KEY not in body
        assert SESSION_TOKEN not in body


def test_a_secret_that_slipped_into_a_sentence_stops_here() -> None:
    problem = Problem("UnreadableFile", f"{SECRET_ACCESS_KEY} cannot be read")
    assert ask("/readyz", problem=problem).body == (
        "no credentials: UnreadableFile: [redacted] cannot be read; next attempt in 12 s\n"
    )
