"""The benchmark runs from end to end; what it finds in so short a time says nothing."""

import re
from pathlib import Path

import pytest

from tests.bench import measures, report, sidecar
from tests.bench.report import Row
from tests.fakes import aws_helper
from tests.support.tools import build_or_skip

PAGE = """# Performance

<!-- make bench-sidecar writes below this line -->
old
<!-- make bench-sidecar writes above this line -->

The rest.
"""


@pytest.mark.long
def test_it_measures_both_and_writes_the_table_where_it_belongs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_or_skip(aws_helper.find_or_build)
    build_or_skip(measures.load_generator)
    page = tmp_path / "performance.md"
    page.write_text(PAGE)
    assert sidecar.main(["--quick", "--write", str(page)]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() in page.read_text()
    assert page.read_text().endswith("\n\nThe rest.\n")
    assert "old" not in page.read_text()
    [calls] = [line for line in printed.splitlines() if "callers at an expiry" in line]
    assert re.split(r"\s*\|\s*", calls)[2] == "1"
    for measure in ("first good answer", "16 connections", "resident", "idle", "on disk"):
        assert measure in printed


def test_a_page_without_a_place_for_the_table_stays_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Something else\n")
    with pytest.raises(ValueError, match="to write between"):
        report.write("table", page, by="bench-sidecar")
    assert page.read_text() == "# Something else\n"


def test_the_tables_columns_line_up() -> None:
    rows = [Row("a", "1", "2"), Row("a long measure", "1.000 s", "2", "< 1 s")]
    drawn = report.table(rows, ours="we", theirs="they")
    assert len({len(line) for line in drawn.splitlines()}) == 1
