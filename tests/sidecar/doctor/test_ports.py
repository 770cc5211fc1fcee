"""Ports that are free, ours, or somebody else's."""

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rolesanywhere_sidecar.doctor import ports
from rolesanywhere_sidecar.doctor.findings import Check, Finding
from rolesanywhere_sidecar.doctor.ports import Listening, judge, look
from tests.support.examined import FAILURE, OK, WARNING
from tests.support.ports import free_port


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A port whose every connection is told ``answer``."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def examined(port: int, check: Check = Check.PROBE_PORT) -> Finding:
    return judge(check, look(port))


def test_a_free_port_is_well() -> None:
    found = examined(free_port())
    assert found.verdict is OK
    assert "is free" in found.sentence


def test_our_own_sidecar_is_known_by_its_answer() -> None:
    answer = b"HTTP/1.1 200 OK\r\nServer: rolesanywhere\r\nContent-Length: 6\r\n\r\nready\n"
    with answering(answer) as port:
        found = examined(port)
    assert found.verdict is OK
    assert found.sentence == f'the sidecar itself listens on port {port} and says "ready"'


def test_a_sidecar_without_credentials_says_why() -> None:
    sentence = b"no credentials: AccessDenied"
    answer = (
        b"HTTP/1.1 503 Service Unavailable\r\nServer: rolesanywhere\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(sentence), sentence)
    )
    with answering(answer) as port:
        assert 'says "no credentials: AccessDenied"' in examined(port).sentence


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 2\r\n\r\nhi", "'nginx'"),
        (b"220 mail.example ESMTP\r\n", ""),
        (b"", ""),
    ],
)
def test_somebody_elses_port_is_a_warning(answer: bytes, named: str) -> None:
    with answering(answer) as port:
        found = examined(port)
    assert found.verdict is WARNING
    assert f"something else listens on port {port}" in found.sentence
    assert named in found.sentence
    assert "--probe-port" in found.remedy


def test_who_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert examined(mute.getsockname()[1]).verdict is WARNING


def test_a_port_that_needs_a_privilege_is_a_failure() -> None:
    found = judge(Check.PORT, Listening(80, errno.EACCES))
    assert found.verdict is FAILURE
    assert "Permission denied" in found.sentence
    assert "--port" in found.remedy


def test_both_ports_are_examined(tmp_path: Path) -> None:
    found = list(ports.examine({"port": free_port(), "probe_port": free_port()}))
    assert [each.check for each in found] == [Check.PORT, Check.PROBE_PORT]
