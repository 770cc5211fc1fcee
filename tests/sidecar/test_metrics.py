"""The metrics, as Prometheus' own parser reads them."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from rolesanywhere_sidecar.identities.identity import Identity, assemble
from rolesanywhere_sidecar.identities.keys import open_key
from rolesanywhere_sidecar.metrics import BUCKETS, Metrics
from rolesanywhere_sidecar.version import VERSION
from tests.fakes.pki import LEAF, Authority
from tests.support.clocks import START

Read = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """The one sample of that name with exactly these labels."""
    [found] = [
        number
        for called, by, number in samples(metrics.reply().body)
        if called == f"rolesanywhere_{name}" and by == labels
    ]
    return found


def an_identity(*, hours: float) -> Identity:
    """A leaf that is valid for so many hours from the start on."""
    template = LEAF.__class__(starts=timedelta(), lives=timedelta(hours=hours))
    leaf = Authority.root(at=START).leaf(at=START, template=template)
    key = open_key("tls.key", leaf.key_pem())
    return assemble([leaf.certificate], public_key=key.public_key, where="tls.crt")


def some_metrics(
    *, expires: datetime | None = None, identity: Identity | None = None, skew: float = 0.0
) -> Metrics:
    return Metrics(
        expires=lambda: expires, identity=lambda: identity, skew=lambda: skew, now=lambda: START
    )


def test_every_family_is_declared_once_and_explained() -> None:
    text = some_metrics().reply().body
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation and family.type != "unknown" for family in families)
    assert text.count("# HELP ") == text.count("# TYPE ") == len(families) == 8
    assert text.endswith("\n")


def test_the_format_is_named_with_its_version() -> None:
    assert some_metrics().reply().content_type == "text/plain; version=0.0.4"


def test_before_anything_has_happened_there_is_nothing_to_be_proud_of() -> None:
    metrics = some_metrics()
    assert value(metrics, "credentials_expiry_timestamp_seconds") == 0
    assert value(metrics, "certificate_expiry_timestamp_seconds") == 0
    assert value(metrics, "certificate_expires_soon") == 0
    assert value(metrics, "renewals_total", outcome="success", code="") == 0
    assert value(metrics, "create_session_duration_seconds_count") == 0


@pytest.mark.parametrize(("hours", "soon"), [(23.9, 1), (24.1, 0)])
def test_a_certificate_in_its_last_day_is_shown(hours: float, soon: int) -> None:
    metrics = some_metrics(identity=an_identity(hours=hours))
    assert value(metrics, "certificate_expires_soon") == soon
    end = START + timedelta(hours=hours)
    assert value(metrics, "certificate_expiry_timestamp_seconds") == int(end.timestamp())


def test_what_is_held_and_how_wrong_the_clock_is_are_read_when_asked() -> None:
    metrics = some_metrics(expires=START, skew=-3600.0)
    assert value(metrics, "credentials_expiry_timestamp_seconds") == START.timestamp()
    assert value(metrics, "clock_skew_seconds") == -3600


def test_renewals_are_counted_by_outcome_and_code() -> None:
    metrics = some_metrics()
    for code in ("", "Throttled", "", "AccessDenied", "Throttled"):
        metrics.renewed(code)
    assert value(metrics, "renewals_total", outcome="success", code="") == 2
    assert value(metrics, "renewals_total", outcome="failure", code="Throttled") == 2
    assert value(metrics, "renewals_total", outcome="failure", code="AccessDenied") == 1


def test_requests_are_counted_by_endpoint_and_status() -> None:
    metrics = some_metrics()
    for status in (200, 200, 401):
        metrics.requested("imds", status)
    assert value(metrics, "requests_total", endpoint="imds", status="200") == 2
    assert value(metrics, "requests_total", endpoint="imds", status="401") == 1


def test_build_info_names_the_release() -> None:
    [labels] = [by for name, by, _ in samples(some_metrics().reply().body) if "build_info" in name]
    assert labels["version"] == VERSION


@given(st.lists(st.floats(min_value=0, max_value=100), max_size=50))
def test_a_histogram_is_cumulative_and_complete(durations: list[float]) -> None:
    metrics = some_metrics()
    for seconds in durations:
        metrics.asked(timedelta(seconds=seconds))
    name = "create_session_duration_seconds"
    measured = [timedelta(seconds=seconds).total_seconds() for seconds in durations]
    for bound in BUCKETS:
        shown = f"{bound:g}"
        assert value(metrics, f"{name}_bucket", le=shown) == sum(s <= bound for s in measured)
    assert value(metrics, f"{name}_bucket", le="+Inf") == len(durations)
    assert value(metrics, f"{name}_count") == len(durations)
    assert value(metrics, f"{name}_sum") == pytest.approx(sum(measured))


def test_a_clock_that_was_set_back_in_the_middle_takes_no_time_back() -> None:
    metrics = some_metrics()
    metrics.asked(timedelta(hours=-1))
    assert value(metrics, "create_session_duration_seconds_sum") == 0
