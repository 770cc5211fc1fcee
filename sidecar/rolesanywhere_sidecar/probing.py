"""The command ``probe``: ask the running sidecar whether it is ready, and print its sentence.

A kubelet runs it as an exec probe, puts what it prints into the pod's Events, and starts it anew
each second: so it is a socket and a few lines, without asyncio, TLS, HTTP client or argument
parser. Never shows more than one line of printable text, whoever answers.
"""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final

from rolesanywhere_contract.names import ENVIRONMENT_PREFIX, PROBE_PORT, READINESS_PATH

PORT_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}PROBE_PORT"
PORT_FLAG: Final = "--probe-port"

# For the whole conversation, however slowly the other side talks.
TIMEOUT_SECONDS: Final = 1.0
# An Event's message holds 1,024 characters, and the kubelet adds a few of its own.
LONGEST_SENTENCE: Final = 900
# Bytes of an answer, its head included; ours has a few hundred.
_LARGEST_ANSWER: Final = 16 * 1024


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Print one sentence; 0 when the sidecar is ready, else 1, and 2 for a wrong command line."""
    try:
        port = _port(arguments, env)
    except ValueError as wrong:
        print(wrong)
        return 2
    ready, sentence = ask(port)
    print(sentence)
    return 0 if ready else 1


def ask(port: int, *, timeout: float = TIMEOUT_SECONDS) -> tuple[bool, str]:
    """Whether the sidecar with this probe port is ready, and its reason in one sentence."""
    where = f"127.0.0.1 port {port}"
    try:
        answer = _answer(port, deadline=time.monotonic() + timeout)
    except TimeoutError:
        return (
            False,
            f"no answer from {where} within {timeout:g} s: the sidecar is starting, or hangs",
        )
    except OSError as failed:
        reason = os.strerror(failed.errno) if failed.errno else type(failed).__name__
        return False, f"no sidecar answers on {where}: {reason}"
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if not head.startswith(b"HTTP/1.") or not status:
        return False, f"what answers on {where} is not the sidecar"
    said = _printable(body.decode(errors="replace"))
    return status[0] == b"200", said or f"status {_printable(status[0].decode('latin-1'))}"


def _answer(port: int, *, deadline: float) -> bytes:
    """Everything that comes back. Raises `OSError`; `TimeoutError` is one."""
    request = (
        f"GET {READINESS_PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    )
    answer = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=_left(deadline)) as connection:
        connection.sendall(request.encode())
        while len(answer) < _LARGEST_ANSWER:
            connection.settimeout(_left(deadline))
            received = connection.recv(4096)
            if not received:
                break
            answer += received
    return bytes(answer)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _printable(text: str) -> str:
    """``text`` on one line, cut where an Event would cut it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST_SENTENCE else line[: LONGEST_SENTENCE - 1] + "…"


def _port(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """The probe port: the flag's, else the variable's, else the usual. Raises `ValueError`."""
    match list(arguments):
        case []:
            name, given = PORT_VARIABLE, env.get(PORT_VARIABLE) or str(PROBE_PORT)
        case [flag, given] if flag == PORT_FLAG:
            name = PORT_FLAG
        case [both] if both.startswith(f"{PORT_FLAG}="):
            name, _, given = both.partition("=")
        case _:
            raise ValueError(f"probe takes {PORT_FLAG} PORT ({PORT_VARIABLE}) and nothing else")
    if not (given.isascii() and given.isdigit() and 0 < int(given) < 65_536):
        raise ValueError(f"{name}: {given[:20]!r} is not a port, expected a number from 1 to 65535")
    return int(given)
