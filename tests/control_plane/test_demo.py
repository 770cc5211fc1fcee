"""``make demo`` where an API server is at hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.binaries import find_or_build_helm
from tests.support.tools import build_or_skip

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("cluster_binaries")
def test_the_demos_pod_goes_through_a_real_api_server() -> None:
    build_or_skip(find_or_build_helm)
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "by a real API server, which calls the webhook as the chart configures it" in done.stdout
    assert "by container-role" in done.stdout
