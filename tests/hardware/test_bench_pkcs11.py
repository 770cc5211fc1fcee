"""The benchmark runs from end to end; what it finds in so short a time says nothing but counts."""

import re
from pathlib import Path

import pytest

from tests.bench import pkcs11
from tests.fakes import aws_helper
from tests.hardware import faults, packages
from tests.support.tools import build_or_skip

PAGE = """# Performance

<!-- make bench-pkcs11 writes below this line -->
old
<!-- make bench-pkcs11 writes above this line -->

The rest.
"""


@pytest.mark.long
def test_it_measures_both_on_the_same_keys_and_counts_what_the_token_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_or_skip(aws_helper.find_or_build)
    build_or_skip(packages.install)
    build_or_skip(faults.find_or_build)
    page = tmp_path / "performance.md"
    page.write_text(PAGE)
    assert pkcs11.main(["--quick", "--write", str(page)]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() in page.read_text()
    assert page.read_text().endswith("\n\nThe rest.\n")
    for hardware in ("SoftHSM", "swtpm"):
        [renewal] = [
            line for line in printed.splitlines() if f"{hardware}: the same of a renewal" in line
        ]
        ours, theirs = re.split(r"\s*\|\s*", renewal)[2:4]
        assert ours.endswith(" ms, 1, 0")
        assert not theirs.endswith(", 1, 0")
    for measure in ("module alone", "spawn to first signature", "memory of the child"):
        assert measure in printed
