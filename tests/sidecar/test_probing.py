"""The exec probe: its sentence, its exit code, its time, and how little it loads."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from rolesanywhere_sidecar.commands import probing
from tests.support.ports import free_port

INJECTED = Path(__file__).parents[1] / "operator" / "golden" / "plain" / "injected.yaml"
# What a Python on a crowded node may take before it asks.
STARTING_SECONDS = 5
READY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n"
HEAVY = {
    "argparse", "asyncio", "cryptography", "dataclasses", "email", "h11", "http", "inspect",
    "json", "logging", "ssl", "subprocess", "urllib.request",
}  # fmt: skip
LOADED = """
import sys
from rolesanywhere_sidecar import __main__
sys.argv = ["rolesanywhere-sidecar", "probe", *sys.argv[1:]]
code = __main__.main()
print(*sys.modules)
sys.exit(code)
"""


@contextmanager
def turning_ready(after: int) -> Iterator[int]:
    """The port of a server that is ready only for whoever asks a time more than ``after``."""
    replies = [b"HTTP/1.1 503 No\r\n\r\nnot yet\n"] * after + [READY]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            for reply in replies:
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join()


@contextmanager
def answering(*pieces: bytes, pause: float = 0.0, hang: bool = False) -> Iterator[int]:
    """The port of a server that sends ``pieces`` to whoever asks, once."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                for piece in pieces:
                    if done.wait(pause):
                        return
                    try:
                        connection.sendall(piece)
                    except OSError:
                        return
                if hang:
                    done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            done.set()
            thread.join()


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The command as a kubelet runs it."""
    return subprocess.run(
        [sys.executable, "-m", "rolesanywhere_sidecar", "probe", *arguments],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


@pytest.mark.parametrize(
    ("status", "sentence", "code"),
    [("200 OK", "ready", 0), ("503 Service Unavailable", "no credentials: AccessDenied: no", 1)],
)
def test_it_says_what_the_sidecar_says_and_the_exit_code_tells(
    status: str, sentence: str, code: int
) -> None:
    with answering(f"HTTP/1.1 {status}\r\n\r\n{sentence}\n".encode()) as port:
        done = run("--probe-port", str(port))
    assert (done.stdout, done.stderr, done.returncode) == (f"{sentence}\n", "", code)


def test_the_port_comes_from_the_containers_environment() -> None:
    with answering(READY) as port:
        assert run(ROLESANYWHERE_PROBE_PORT=str(port)).returncode == 0


def test_the_flag_wins_in_either_spelling() -> None:
    nobody = str(free_port())
    with answering(READY) as port:
        assert run(f"--probe-port={port}", ROLESANYWHERE_PROBE_PORT=nobody).returncode == 0


def test_nobody_listening_is_a_sentence() -> None:
    port = free_port()
    done = run("--probe-port", str(port))
    assert done.returncode == 1
    assert done.stdout == f"no sidecar answers on 127.0.0.1 port {port}: Connection refused\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    "dribble", [(), tuple(b"HTTP/1.1 200 OK".split(b"T"))], ids=["silent", "slow"]
)
def test_who_answers_too_late_is_given_up_on(dribble: tuple[bytes, ...]) -> None:
    begun = time.monotonic()
    with answering(*(dribble * 20), pause=0.05, hang=True) as port:
        ready, sentence = probing.ask(port, timeout=0.3)
    assert not ready
    assert sentence.startswith(f"no answer from 127.0.0.1 port {port} within 0.3 s")
    assert time.monotonic() - begun < 2


def test_a_kubelet_would_still_wait_when_the_probe_gives_up() -> None:
    """After its wait there may be one more question; and two looks shall not run at once."""
    [sidecar] = yaml.safe_load(INJECTED.read_text())["spec"]["initContainers"]
    probe = sidecar["startupProbe"]
    command = probe["exec"]["command"]
    wait = int(command[command.index(probing.WAIT_FLAG) + 1])
    longest = wait + probing.TIMEOUT_SECONDS
    assert 0 < longest < probe["timeoutSeconds"] - STARTING_SECONDS
    assert longest <= probe["periodSeconds"]


def test_one_look_waits_for_readiness_and_tells_of_it_at_once() -> None:
    with turning_ready(after=3) as port:
        done = run("--probe-port", str(port), "--wait", "9")
    assert (done.stdout, done.returncode) == ("ready\n", 0)


def test_a_look_that_waited_in_vain_tells_why() -> None:
    begun = time.monotonic()
    ready, sentence = probing.until_ready(free_port(), within=0.4)
    assert (ready, "Connection refused" in sentence) == (False, True)
    assert 0.4 <= time.monotonic() - begun < 3


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1", b"\xff" * 99])
def test_a_stranger_on_the_port_is_told_apart(answer: bytes) -> None:
    with answering(answer) as port:
        ready, sentence = probing.ask(port)
    assert (ready, sentence) == (False, f"what answers on 127.0.0.1 port {port} is not the sidecar")


def test_an_answer_without_words_is_told_by_its_status() -> None:
    with answering(b"HTTP/1.1 404 Not Found\r\n\r\n") as port:
        assert probing.ask(port) == (False, "status 404")


def test_the_sentence_is_one_printable_line_that_fits_an_event() -> None:
    body = b"a\x1b[31m\nb\x00" + b"x" * 50_000
    with answering(b"HTTP/1.1 503 No\r\n\r\n" + body, hang=True) as port:
        _, sentence = probing.ask(port)
    assert sentence.isprintable()
    assert sentence.startswith("a [31m b x")
    assert len(sentence) == probing.LONGEST_SENTENCE


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        (
            ["--probe-port", "x"],
            {},
            "--probe-port: 'x' is out of place, expected a number from 1 to",
        ),
        (["--probe-port", "0"], {}, "--probe-port: '0' is out of place, expected"),
        ([], {"ROLESANYWHERE_PROBE_PORT": "70000"}, "ROLESANYWHERE_PROBE_PORT: '70000' is out of"),
        (
            ["--wait", "soon"],
            {},
            "--wait: 'soon' is out of place, expected a number from 0 to 3600",
        ),
        (["--wait"], {}, "probe takes --probe-port PORT"),
        (["--port", "1"], {}, "probe takes --probe-port PORT (ROLESANYWHERE_PROBE_PORT), --wait"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(
    arguments: list[str], env: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probing.main(arguments, env) == 2
    printed = capsys.readouterr().out
    assert printed.startswith(says)
    assert printed.count("\n") == 1


def test_it_loads_next_to_nothing() -> None:
    with answering(READY) as port:
        done = subprocess.run(
            [sys.executable, "-S", "-c", LOADED, "--probe-port", str(port)],
            env={"PYTHONPATH": str(Path(probing.__file__).parents[2])},  # as in the image
            capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
    said, _, loaded = done.stdout.partition("\n")
    assert said == "ready", done.stderr
    assert set(loaded.split()) & HEAVY == set()
