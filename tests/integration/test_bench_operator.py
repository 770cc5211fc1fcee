"""The operator's benchmark runs from end to end; what it finds in so short a time says nothing."""

import re
from pathlib import Path

import pytest

from tests.bench import measures, operator, reviews
from tests.cluster.binaries import find_or_build
from tests.support.tools import build_or_skip

PAGE = """# Performance

<!-- make bench-operator writes below this line -->
old
<!-- make bench-operator writes above this line -->

The rest.
"""


@pytest.mark.long
def test_it_measures_both_programs_and_writes_the_tables_where_they_belong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_or_skip(find_or_build)
    build_or_skip(measures.load_generator)
    page = tmp_path / "performance.md"
    page.write_text(PAGE)
    assert operator.main(["--quick", "--write", str(page)]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() in page.read_text()
    assert "old" not in page.read_text()
    for measure in ("1 connection", "16 connections", "resident", "until all are judged"):
        assert measure in printed
    [calls] = [line for line in printed.splitlines() if "for one change" in line]
    found = re.split(r"\s*\|\s*", calls)[2]
    writes = [int(one) for one in re.findall(r"(\d+) patch rolesanywherebindings/status", found)]
    # Once, and again where a count of pods came in between; never once for each binding.
    assert writes
    assert max(writes) < operator.QUICK.bindings


def test_a_review_is_as_large_as_its_heading_says() -> None:
    assert len(reviews.a_review_of_ten_kilobytes()) == reviews.REVIEW_BYTES
