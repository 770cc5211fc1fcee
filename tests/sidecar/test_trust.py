"""Which files with authorities are read, and which are refused."""

import os
import ssl
import threading
from pathlib import Path

import pytest

from rolesanywhere_sidecar.failures import EndpointUnreachable
from rolesanywhere_sidecar.service.transport import Transport
from rolesanywhere_sidecar.service.trust import InvalidCABundle, Trust
from rolesanywhere_sidecar.signing import SignedRequest


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


async def test_a_bundle_on_a_volume_that_hangs_takes_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mended, reads = threading.Event(), []

    def hanging(_: Trust) -> ssl.SSLContext:
        reads.append(1)
        assert mended.wait(10)
        raise InvalidCABundle("mended too late")

    monkeypatch.setattr(Trust, "context", hanging)
    transport = Transport("https://127.0.0.1:9", ca_bundle="x", env={}, total_seconds=0.02)
    for _ in range(5):
        with pytest.raises(EndpointUnreachable, match="no answer within"):
            await transport.post(SignedRequest(target="/", headers={}, body=b""))
    assert reads == [1]
    mended.set()
