"""The text that scrapers read, read by Prometheus' own client library."""

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from rolesanywhere_contract.exposition import (
    Family,
    Histogram,
    Sample,
    by_labels,
    exposition,
    gauge,
)

finite = st.floats(allow_nan=False, allow_infinity=False)


@example(value=0.5, label='a "quoted" \\ line\nand another', about="a \\ line\nand another")
@given(value=finite, label=st.text(), about=st.text(alphabet=st.characters(codec="utf-8")))
def test_whatever_a_label_says_is_read_back(value: float, label: str, about: str) -> None:
    written = exposition([Family("told", "gauge", about, (Sample(value, {"by": label}),))])
    if "\r" in about + label or any(ord(c) in range(0x1C, 0x1F) for c in about + label):
        return  # the parser of the library splits lines there, which the format does not
    [family] = text_string_to_metric_families(written)
    [sample] = family.samples
    assert (sample.labels, sample.value) == ({"by": label}, value)


def test_a_histogram_counts_up_to_and_including_each_bound() -> None:
    took = Histogram((0.1, 1.0))
    for seconds in (0.1, 0.2, 7.0, -3.0):
        took.observe(seconds)
    family = Family("took_seconds", "histogram", "How long.", tuple(took.samples({"verb": "get"})))
    [read] = text_string_to_metric_families(exposition([family]))
    buckets = {s.labels["le"]: s.value for s in read.samples if s.name == "took_seconds_bucket"}
    assert buckets == {"0.1": 2, "1": 3, "+Inf": 4}
    totals = {s.name: s.value for s in read.samples if "le" not in s.labels}
    assert totals == {"took_seconds_sum": 7.3, "took_seconds_count": 4}
    assert {s.labels["verb"] for s in read.samples} == {"get"}


def test_samples_come_in_one_order_whatever_was_counted_first() -> None:
    samples = by_labels(("verb", "code"), {("list", "200"): 2, ("get", "404"): 1})
    assert [sample.labels for sample in samples] == [
        {"verb": "get", "code": "404"},
        {"verb": "list", "code": "200"},
    ]


def test_a_gauge_says_what_it_is() -> None:
    assert exposition([gauge("leader", "1 while leading.", True)]) == (
        "# HELP leader 1 while leading.\n# TYPE leader gauge\nleader 1\n"
    )
