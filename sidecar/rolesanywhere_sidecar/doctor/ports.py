"""The two ports of ``serve``: free, ours already, or somebody else's.

Asks a taken port who it is, on loopback alone and for no more than two seconds.
"""

import errno
import http.client
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rolesanywhere_contract.names import READINESS_PATH
from rolesanywhere_sidecar.doctor.findings import Check, Finding, failure, ok, warning

ANSWER_SECONDS: Final = 2.0

# What `listeners` signs every answer with.
_OURS: Final = "rolesanywhere"
_LONGEST_SENTENCE: Final = 200


@dataclass(frozen=True, slots=True)
class Listening:
    """Who is at a port: nobody (``problem`` is empty), or a server that calls itself ``server``."""

    port: int
    problem: int = 0
    server: str = ""
    says: str = ""


def examine(values: Mapping[str, Any]) -> Iterator[Finding]:
    """Both ports. Blocking."""
    for check, setting in ((Check.PORT, "port"), (Check.PROBE_PORT, "probe_port")):
        yield judge(check, look(values[setting]))


def look(port: int) -> Listening:
    """Try to listen on ``port``, and ask who does if somebody does."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as problem:
        if problem.errno != errno.EADDRINUSE:
            return Listening(port, problem.errno or errno.EIO)
        return _who_is_at(port)
    return Listening(port)


def judge(check: Check, seen: Listening) -> Finding:
    """Free and ours are well; what is somebody else's keeps ``serve`` from starting."""
    flag = f"--{check}"
    if not seen.problem:
        return ok(check, f"port {seen.port} is free; nothing serves there now")
    if seen.problem != errno.EADDRINUSE:
        return failure(
            check,
            f"port {seen.port} cannot be listened on: {os.strerror(seen.problem)}",
            f"choose another with {flag}; below 1024 needs a privilege",
        )
    if seen.server.startswith(_OURS):
        says = f' and says "{seen.says}"' if seen.says else ""
        return ok(check, f"the sidecar itself listens on port {seen.port}{says}")
    return warning(
        check,
        f"something else listens on port {seen.port}"
        + (f" (it calls itself {seen.server!r})" if seen.server else ""),
        f"stop it, or choose another port with {flag}; serve cannot start",
    )


def _who_is_at(port: int) -> Listening:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", READINESS_PATH)
        answer = connection.getresponse()
        body = answer.read(_LONGEST_SENTENCE).decode(errors="replace")
        says = " ".join(body.split()) if answer.status in (200, 503) else ""
        server = "".join(c for c in answer.getheader("Server", "") if c.isprintable())[:40]
        return Listening(port, errno.EADDRINUSE, server, says if server == _OURS else "")
    except (OSError, http.client.HTTPException, ValueError):
        return Listening(port, errno.EADDRINUSE)
    finally:
        connection.close()
