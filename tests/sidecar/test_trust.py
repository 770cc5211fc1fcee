"""Which files with authorities are read, and which are refused."""

import os
import threading
from pathlib import Path

import pytest

from rolesanywhere_sidecar.service.trust import InvalidCABundle, Trust


def test_a_bundle_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ca.pem")
    problems: list[str] = []

    def read() -> None:
        try:
            Trust(str(tmp_path / "ca.pem")).context()
        except InvalidCABundle as problem:
            problems.append(problem.problem)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(timeout=5)
    assert problems == [f"the CA bundle {tmp_path}/ca.pem cannot be read: it is not a regular file"]


def test_a_bundle_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"x" * 1_048_577)
    with pytest.raises(InvalidCABundle, match="cannot be read: it is larger than 1048576 bytes"):
        Trust(str(tmp_path / "ca.pem")).context()
