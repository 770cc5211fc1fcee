"""The command ``probe``: ask the running sidecar whether it is ready, and print its sentence.

A kubelet runs it as an exec probe, and puts what it prints into the pod's Events. Each look is a
process of its own, so it is a socket and a few lines, without asyncio, TLS, HTTP client or argument
parser; and one look may wait for readiness, because a process each second in every pod that waits
for AWS would keep a node busy. Never shows more than one line of printable text, whoever answers.
"""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from rolesanywhere_contract.names import ENVIRONMENT_PREFIX, PROBE_PORT, READINESS_PATH
from rolesanywhere_sidecar.commands.output import OutputClosed, say

PORT_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}PROBE_PORT"
PORT_FLAG: Final = "--probe-port"
WAIT_FLAG: Final = "--wait"

LONGEST_WAIT_SECONDS: Final = 3600
_PORTS: Final = range(1, 65_536)
# Between two questions while it waits.
PAUSE_SECONDS: Final = 0.1

# For the whole conversation, however slowly the other side talks.
TIMEOUT_SECONDS: Final = 1.0
# An Event's message holds 1,024 characters, and the kubelet adds a few of its own.
LONGEST_SENTENCE: Final = 900
# Bytes of an answer, its head included; ours has a few hundred.
_LARGEST_ANSWER: Final = 16 * 1024


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Print one sentence; 0 when the sidecar is ready, else 1, and 2 for a wrong command line."""
    try:
        port, wait = _told(arguments, env)
    except ValueError as wrong:
        _say(str(wrong))
        return 2
    ready, sentence = until_ready(port, within=wait)
    _say(sentence)
    return 0 if ready else 1


def _say(sentence: str) -> None:
    # The exit code tells the kubelet all, should nobody take the sentence.
    with suppress(OutputClosed):
        say(sentence, what="sentence")


def until_ready(port: int, *, within: float) -> tuple[bool, str]:
    """What `ask` says once the sidecar is ready, or else ``within`` seconds later."""
    deadline = time.monotonic() + within
    while True:
        ready, sentence = ask(port)
        left = deadline - time.monotonic()
        if ready or left <= 0:
            return ready, sentence
        time.sleep(min(PAUSE_SECONDS, left))


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


def _told(arguments: Sequence[str], env: Mapping[str, str]) -> tuple[int, int]:
    """Probe port and seconds to wait; a flag wins over the variable. Raises `ValueError`."""
    words = [part for word in arguments for part in word.split("=", 1)]
    flags = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) % 2 or not flags.keys() <= {PORT_FLAG, WAIT_FLAG}:
        raise ValueError(_USAGE)
    wait = _number(flags.get(WAIT_FLAG) or "0", WAIT_FLAG, of=range(LONGEST_WAIT_SECONDS + 1))
    if PORT_FLAG in flags:
        return _number(flags[PORT_FLAG], PORT_FLAG, of=_PORTS), wait
    return _number(env.get(PORT_VARIABLE) or str(PROBE_PORT), PORT_VARIABLE, of=_PORTS), wait


_USAGE: Final = (
    f"probe takes {PORT_FLAG} PORT ({PORT_VARIABLE}), {WAIT_FLAG} SECONDS, and nothing else"
)


def _number(given: str, name: str, *, of: range) -> int:
    if not (given.isascii() and given.isdigit() and int(given) in of):
        raise ValueError(
            f"{name}: {given[:20]!r} is out of place, expected a number from {of[0]} to {of[-1]}"
        )
    return int(given)
