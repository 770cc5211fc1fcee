"""``make demo`` as a new user meets it: no API server, and a machine that may be in the way."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from rolesanywhere_contract.names import CREDENTIALS_PORT

ROOT = Path(__file__).parents[2]


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    """The demo's own process, with a cache in which nothing was built yet."""
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "tests.demo"],
        cwd=ROOT,
        env={**env, "ROLESANYWHERE_CACHE": str(folder), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_demo_walks_the_whole_path_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the AdmissionReview\n   goes to the webhook directly" in done.stdout
    assert "by container-role" in done.stdout
    assert "by iam-role" in done.stdout
    assert done.stdout.count("\nok ") == 9
    assert done.stdout.endswith("Every step happened as told, and nothing was left behind.\n")
    assert list(tmp_path.iterdir()) == []


def test_the_demo_fails_loudly_when_a_step_does_not_happen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", CREDENTIALS_PORT)):
        done = demo(tmp_path)
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert f"port {CREDENTIALS_PORT} of 127.0.0.1 is in use" in done.stderr
