"""Verdicts, words and exit codes."""

import re

import pytest

from rolesanywhere_sidecar.doctor.findings import (
    Check,
    Finding,
    exit_code,
    failure,
    group_of,
    ok,
    skipped,
    warning,
)

WELL = ok(Check.DNS, "fine")
DOUBTFUL = warning(Check.CLOCK, "late", "set it")
BROKEN = failure(Check.TLS, "no", "do")
LEFT_OUT = skipped(Check.TCP, "not yet")


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([WELL], 0),
        ([WELL, DOUBTFUL], 0),
        ([WELL, LEFT_OUT], 0),
        ([WELL, DOUBTFUL, BROKEN], 1),
        ([BROKEN, WELL], 1),
    ],
)
def test_failures_alone_end_in_1(findings: list[Finding], code: int) -> None:
    assert exit_code(findings) == code


def test_words_of_checks_are_for_scripts() -> None:
    assert all(re.fullmatch(r"[a-z0-9-]+", check) for check in Check)


def test_every_check_is_told_in_its_group() -> None:
    groups = [group_of(check) for check in Check]
    assert list(dict.fromkeys(groups)) == [
        "Settings",
        "Files",
        "Hardware",
        "Identity",
        "Ports",
        "AWS",
        "Time",
    ]
    assert group_of(Check.PROXY) == "Settings"
    assert group_of(Check.CA_BUNDLE) == "Files"
    assert group_of(Check.PACKED_TAGS) == "Identity"
    assert groups == sorted(groups, key=groups.index)
