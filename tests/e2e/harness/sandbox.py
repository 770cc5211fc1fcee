"""Namespaces for one cluster: made, entered, spoken to, and ended without a trace.

A folder holds all that the cluster writes, and a branch of control groups its containers. Both are
found by the cluster's name, so that whatever a killed run left is ended by the next. Knows nothing
of Kubernetes.
"""

import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.harness import cgroups, init, mountpoints

CLUSTERS: Final = Path("/var/lib/rolesanywhere-clusters")
START_SECONDS: Final = 20.0
ANSWER_SECONDS: Final = 10.0
TAIL_LINES: Final = 15


class SandboxFailed(Exception):
    """The namespaces could not be made, or are gone; the text says what was seen."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `init` lays out.

    ``sysctls`` of the whole machine are covered by copies; ``folders`` maps a path of the machine
    to the name of the folder of ours that lies over it.
    """

    address: str
    services: str
    hostname: str
    sysctls: Sequence[str]
    folders: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One cluster's namespaces, running or not, by ``name``."""

    name: str

    @property
    def folder(self) -> Path:
        return CLUSTERS / self.name

    @property
    def cgroup(self) -> str:
        return f"rolesanywhere-{self.name}"

    def make(self, plan: Plan, *, owned: bool) -> "subprocess.Popen[bytes]":
        """Start the first process. ``owned``: it ends with the process that calls this.

        Raises `SandboxFailed`, and has left nothing then.
        """
        self.destroy()
        started: subprocess.Popen[bytes] | None = None
        try:
            self._lay_out(plan)
            started = self._begin(plan, owned=owned)
            self._remember(started.pid)
            self._wait_until_it_answers(started)
            self._remember(started.pid, self.pid)
        except BaseException:
            if started:
                started.kill()
            self.destroy()
            if started:
                started.communicate()
            raise
        return started

    def destroy(self) -> None:
        """End it and take away all that it left; nothing happens if there is nothing."""
        with suppress(FileNotFoundError, json.JSONDecodeError):
            for known in json.loads((self.folder / "state.json").read_text()):
                _end(known)
        cgroups.remove(self.cgroup)
        mountpoints.leave(self.folder)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nobody else start or end the one of this name. Raises `SandboxFailed` if one does.

        It needs no file, and ends with this process at the latest.
        """
        with socket.socket(socket.AF_UNIX) as lock:
            try:
                lock.bind(f"\0{self.cgroup}")
            except OSError as taken:
                if taken.errno != errno.EADDRINUSE:
                    raise
                raise SandboxFailed(
                    f"cluster {self.name} is in the hands of another run: wait for its end, "
                    "or give yours another name by ROLESANYWHERE_CLUSTER"
                ) from None
            yield

    def _lay_out(self, plan: Plan) -> None:
        """Its folder and control groups, and the mount points that the machine lacks."""
        mountpoints.make(self.folder, list(plan.folders))
        (self.folder / "logs").mkdir()
        cgroups.make(self.cgroup)

    def _begin(self, plan: Plan, *, owned: bool) -> "subprocess.Popen[bytes]":
        with (self.folder / "logs" / "init.log").open("wb") as log:
            return subprocess.Popen(
                [
                    "unshare", "--mount", "--propagation=private", "--net", "--uts", "--ipc",
                    "--pid", "--fork", "--kill-child", "--mount-proc",
                    sys.executable, "-I", init.__file__, self.folder, json.dumps(asdict(plan)),
                    *(["owned"] if owned else []),
                ],
                stdin=subprocess.PIPE if owned else subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def is_running(self) -> bool:
        """Whether its first process takes orders."""
        try:
            self._ask({"do": "look"})
        except SandboxFailed:
            return False
        return True

    @property
    def pid(self) -> int:
        """Its first process, as this one sees it."""
        with self._connected() as connection:
            told = connection.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
            )
        return int(struct.unpack("3i", told)[0])

    def entering(self, *namespaces: str) -> Sequence[str]:
        """A command that runs the command after it in ``namespaces``, by default the network's."""
        chosen = [f"--{one}" for one in namespaces or ("net",)]
        return ["nsenter", f"--target={self.pid}", *chosen, "--"]

    def inside(self, command: Sequence[str | Path]) -> Sequence[str | Path]:
        """``command``, to be run among the cluster's processes and mounts."""
        return [*self.entering("mount", "net", "uts", "ipc", "pid"), *command]

    def start(self, name: str, command: Sequence[str | Path]) -> "Service":
        """Run ``command`` inside; what it says is in the log ``name``."""
        self._ask({"do": "start", "name": name, "command": [str(word) for word in command]})
        return Service(self, name)

    def open_socket(self) -> socket.socket:
        """A new TCP socket of the cluster's network, for this process to bind or connect."""
        return self._ask_for_sockets({"do": "socket"})[1][0]

    def dial(self, address: tuple[str, int]) -> socket.socket:
        """A connection from this process to ``address`` in the cluster's network."""
        opened = self.open_socket()
        opened.settimeout(ANSWER_SECONDS)
        try:
            opened.connect(address)
        except OSError:
            opened.close()
            raise
        return opened

    def look(self) -> tuple[dict[str, int], dict[str, int]]:
        """The programs that run, by name with their ids inside; and the exit codes of the rest."""
        told = self._ask({"do": "look"})
        return told["pids"], told["ended"]

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send the program ``name`` a signal, if it runs."""
        self._ask({"do": "signal", "name": name, "signal": number})

    def _ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        return self._ask_for_sockets(order)[0]

    def _ask_for_sockets(
        self, order: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[socket.socket]]:
        with self._connected() as connection:
            try:
                connection.sendall(json.dumps(order).encode() + b"\n")
                data, descriptors, _, _ = socket.recv_fds(connection, 65536, 1)
            except OSError as failed:
                raise SandboxFailed(f"cluster {self.name} gives no answer: {failed}") from failed
        sockets = [socket.socket(fileno=one) for one in descriptors]
        answer = json.loads(data or b'{"error": "it hung up"}')
        if "error" in answer:
            raise SandboxFailed(f"cluster {self.name} refuses {order['do']}: {answer['error']}")
        return answer, sockets

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            try:
                connection.connect(str(self.folder / init.CONTROL))
            except OSError as failed:
                raise SandboxFailed(f"cluster {self.name} does not run: {failed}") from failed
            yield connection

    def _remember(self, *pids: int) -> None:
        """Write down whom `destroy` has to end, so that any later run can."""
        fresh = self.folder / "state.fresh"
        fresh.write_text(json.dumps([_identity(pid) for pid in pids]))
        fresh.replace(self.folder / "state.json")

    def _wait_until_it_answers(self, started: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.is_running:
            if started.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "logs" / "init.log").read_text()
                raise SandboxFailed(f"the namespaces could not be made: {said.strip()[-1000:]}")
            time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Service:
    """One program of a cluster."""

    sandbox: Sandbox
    name: str

    @property
    def pid(self) -> int:
        """Its id inside the cluster; 0 when it does not run."""
        return self.sandbox.look()[0].get(self.name, 0)

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.sandbox.look()[1].get(self.name)

    @property
    def log(self) -> Path:
        return self.sandbox.folder / "logs" / f"{self.name}.log"

    def tail(self) -> str:
        """The last lines of the log, for the reader of a failure."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:]) or "(its log is empty)"

    def end(self, number: signal.Signals = signal.SIGKILL, *, within: float = 30.0) -> None:
        """Send a signal and wait until it has ended. Raises `SandboxFailed`."""
        self.sandbox.signal(self.name, number)
        deadline = time.monotonic() + within
        while self.pid:
            if time.monotonic() > deadline:
                raise SandboxFailed(f"{self.name} did not end in {within:.0f} seconds")
            time.sleep(0.02)


def _identity(pid: int) -> dict[str, int]:
    """What tells a process from a later one of the same id: when it was started, in ticks."""
    return {"pid": pid, "started": int(_stat(pid)[19])}


def _stat(pid: int) -> list[str]:
    """proc(5): the fields of ``stat`` after the name, the state first."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _end(known: Mapping[str, int]) -> None:
    """Kill the process that was written down, if it is still that one, and see it gone.

    ``unshare``'s end is the end of the first process, whose end is that of all the others; it is
    gone after them.
    """
    pid = known["pid"]
    with suppress(FileNotFoundError, ProcessLookupError):
        while _identity(pid) == known and _stat(pid)[0] != "Z":
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
