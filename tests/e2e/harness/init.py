"""The first process of a cluster's namespaces: starts its programs, and all die with it.

Run as a file by ``unshare``, with the standard library alone. It lays the node's network and covers
what a node would change of its machine; then it takes orders on a socket in its folder. When it
ends, however it ends, the kernel ends every process of the cluster and drops every mount, address
and packet filter with it. Never decides what to start.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONTROL = "control.sock"


@dataclass
class Init:
    """The programs by name, and the exit codes of those that ended."""

    folder: Path
    pids: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)

    def obey(self, order: Mapping[str, Any]) -> tuple[dict[str, Any], list[socket.socket]]:
        """Do what ``order`` says; the answer, and the sockets that go along with it."""
        match order["do"]:
            case "start":
                return {"pid": self.start(order["name"], order["command"])}, []
            case "signal":
                with suppress(ProcessLookupError, KeyError):
                    os.kill(self.pids[order["name"]], order["signal"])
                return {}, []
            case "look":
                return {"pids": self.pids, "ended": self.ended}, []
            case "socket":
                return {}, [socket.socket()]
            case unknown:
                raise ValueError(f"no such order: {unknown}")

    def start(self, name: str, command: list[str]) -> int:
        """Run ``command`` as ``name``, its output added to its log."""
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            started = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        # Reaped below with everybody else's children, so that it must not be by its own handle.
        started.returncode = 0
        self.ended.pop(name, None)
        self.pids[name] = started.pid
        return started.pid

    def reap(self) -> None:
        """Take note of every child that has ended; orphans of the cluster are children too."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = found
                for name in [name for name, known in self.pids.items() if known == pid]:
                    self.ended[name] = os.waitstatus_to_exitcode(status)
                    del self.pids[name]


def lay_network(address: str, services: str, hostname: str) -> None:
    """An address for the node, and a way for it to Services: all on the loopback device."""
    socket.sethostname(hostname)
    for words in (
        "link set lo up",
        f"address add {address}/32 dev lo",
        # Any way will do, because kube-proxy's rules give such packets another destination.
        f"route add {services} dev lo src {address}",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def cover(folder: Path, sysctls: list[str], folders: Mapping[str, str]) -> None:
    """Hide what a node writes to outside its own folder behind files of this cluster's."""
    for path in ("/run", "/var/log"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path], check=True)
    for path, inside in folders.items():
        (folder / inside).mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", folder / inside, path], check=True)
    for name in sysctls:
        real = Path("/proc/sys", name)
        copy = folder / "sysctls" / name.replace("/", ".")
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(real.read_text())
        subprocess.run(["mount", "--bind", copy, real], check=True)
    # Volumes that a pod's container mounts for others spread within the cluster, never beyond.
    subprocess.run(["mount", "--make-rshared", "/"], check=True)


def serve(init: Init, listener: socket.socket, owner: int | None) -> None:
    """Obey until the owner is gone, whose end of a pipe closes with it."""
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # A first process is deaf to all signals that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with selectors.DefaultSelector() as waiting:
        waiting.register(listener, selectors.EVENT_READ)
        waiting.register(woken, selectors.EVENT_READ)
        if owner is not None:
            waiting.register(owner, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is woken:
                    woken.recv(4096)
                elif key.fileobj is listener:
                    _answer(init, listener)
                else:
                    return
            init.reap()


def _answer(init: Init, listener: socket.socket) -> None:
    """One order a connection; who breaks it off, or talks nonsense, harms only himself."""
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        connection.settimeout(5)
        init.reap()
        sockets: list[socket.socket] = []
        try:
            answer, sockets = init.obey(json.loads(connection.makefile("rb").readline()))
        except Exception as failed:  # It must outlive every order.
            answer = {"error": f"{type(failed).__name__}: {failed}"}
        data = json.dumps(answer).encode() + b"\n"
        socket.send_fds(connection, [data], [one.fileno() for one in sockets])
        for one in sockets:
            one.close()


def main(arguments: list[str]) -> None:
    """``init.py FOLDER PLAN [owned]``: the plan is what `Plan` writes."""
    folder, plan = Path(arguments[0]), json.loads(arguments[1])
    cover(folder, plan["sysctls"], plan["folders"])
    lay_network(plan["address"], plan["services"], plan["hostname"])
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(folder)  # A socket's path may be 107 bytes long, and the folder's may be longer.
        listener.bind(CONTROL)
        listener.listen()
        serve(Init(folder), listener, 0 if "owned" in arguments else None)


if __name__ == "__main__":
    main(sys.argv[1:])
