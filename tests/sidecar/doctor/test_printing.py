"""Reports as people and programs read them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolesanywhere_sidecar.doctor.findings import (
    Check,
    Finding,
    Verdict,
    failure,
    ok,
    skipped,
    warning,
)
from rolesanywhere_sidecar.doctor.printing import Text, document, worst

FINDINGS = [
    ok(Check.SETTINGS, "fine"),
    warning(Check.PORT, "something else listens " + "there " * 12, "stop it " * 12),
    failure(Check.DNS, "no", "yes"),
    skipped(Check.TCP, "not until dns is mended"),
]


def printed(findings: list[Finding], *, width: int = 80, colour: bool = False) -> str:
    text = Text(width=width, colour=colour)
    lines = [line for finding in findings for line in text.lines(finding)]
    return "\n".join([*lines, *text.summary(findings)])


def test_a_report_reads_like_this() -> None:
    assert (
        printed(FINDINGS)
        == """\
Settings
ok       settings: fine

Ports
warning  port: something else listens there there there there there there there
         there there there there there
         → stop it stop it stop it stop it stop it stop it stop it stop it stop
           it stop it stop it stop it

AWS
failure  dns: no
         → yes
skipped  tcp: not until dns is mended

1 ok, 1 warning, 1 failure, 1 skipped"""
    )


@given(st.integers(-5, 300), st.sampled_from(FINDINGS))
def test_no_line_is_longer_than_it_may_be(width: int, finding: Finding) -> None:
    for line in Text(width=width).lines(finding):
        assert len(line) <= min(max(width, 40), 100)


def test_what_is_to_be_copied_stays_whole() -> None:
    arn = "arn:aws:rolesanywhere:eu-west-1:111122223333:trust-anchor/" + "0" * 36
    assert arn in printed([ok(Check.ARNS, f"it is {arn}")])


def test_colours_are_around_the_verdict_alone() -> None:
    coloured = printed([failure(Check.DNS, "no", "yes")], colour=True)
    assert "\x1b[31mfailure  \x1b[0mdns: no" in coloured
    assert "\x1b" not in printed(FINDINGS)


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ([], "ok"),
        (FINDINGS[:1], "ok"),
        ([FINDINGS[3]], "ok"),
        (FINDINGS[:2], "warning"),
        (FINDINGS, "failure"),
    ],
)
def test_the_worst_verdict_is_that_on_all(findings: list[Finding], verdict: str) -> None:
    assert worst(findings) == verdict


def test_the_document_has_everything() -> None:
    report = json.loads(document(FINDINGS))
    assert report.keys() == {"schema", "program", "version", "verdict", "counts", "findings"}
    assert (report["schema"], report["verdict"]) == (1, "failure")
    assert report["counts"] == {"ok": 1, "warning": 1, "failure": 1, "skipped": 1}
    assert report["findings"][2] == {
        "verdict": "failure", "check": "dns", "sentence": "no", "remedy": "yes",
    }  # fmt: skip
    assert {each["verdict"] for each in report["findings"]} == set(Verdict)
