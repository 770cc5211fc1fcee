"""Waiting for a control plane to come up: bounded, and with the log of whatever did not.

Asks by plain HTTPS, several times a second; kubectl would be a process each time.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

# Ready in three seconds on two idle cores, and in sixty where forty programs want them. One that
# does not come fails all tests of its process.
START_SECONDS: Final = 240.0
POLL_SECONDS: Final = 0.05
ANSWER_SECONDS: Final = 2.0


class ControlPlaneFailed(Exception):
    """A control plane did not come up; the text ends with the last lines of the logs."""


class Watched(Protocol):
    """A process that may end too early."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int: ...
    def exit_code(self) -> int | None: ...
    def tail(self) -> str: ...


Dial = Callable[[tuple[str, int]], socket.socket]


def dial_from_here(address: tuple[str, int]) -> socket.socket:
    """A connection to ``address`` in this process's own network."""
    return socket.create_connection(address, timeout=ANSWER_SECONDS)


@dataclass(frozen=True, slots=True)
class Api:
    """An API server and a user of it; ``dial`` leads into its network."""

    port: int
    ca_file: Path
    token: str = field(repr=False)
    address: str = "127.0.0.1"
    dial: Dial = dial_from_here

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    def has(self, path: str) -> bool:
        """Whether ``GET path`` is answered with 200."""
        try:
            with closing(self._connected()) as connection:
                connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
                return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):  # not listening yet, or not answering
            return False

    def _connected(self) -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPConnection(self.address, self.port)
        connection.sock = context.wrap_socket(
            self.dial((self.address, self.port)), server_hostname=self.address
        )
        return connection


def wait_until(api: Api, path: str, processes: Sequence[Watched]) -> None:
    """Return once ``api`` has ``path``; raise ``ControlPlaneFailed`` when it never will."""
    deadline = time.monotonic() + START_SECONDS
    while not api.has(path):
        for process in processes:
            if (code := process.exit_code()) is not None:
                raise ControlPlaneFailed(
                    f"{process.name} ended with exit code {code}; its log ends:\n{process.tail()}"
                )
        if time.monotonic() > deadline:
            logs = "\n".join(f"{process.name}:\n{process.tail()}" for process in processes)
            raise ControlPlaneFailed(
                f"{api.url}{path} did not come in {START_SECONDS:.0f} seconds; logs end:\n{logs}"
            )
        time.sleep(POLL_SECONDS)
