"""p11-kit's server: a token of this machine, offered at a socket to who may connect to it.

The clients need the socket's folder and nothing else: no device, no store, no settings.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

from tests.cluster.processes import Process, running
from tests.hardware.tokens import Token
from tests.support.waiting import eventually

# Starts a server, for one block.
Serve: TypeAlias = Callable[[], AbstractContextManager["Server"]]

_LIBRARIES: Final = Path(f"/usr/lib/{os.uname().machine}-linux-gnu")
CLIENT: Final = _LIBRARIES / "pkcs11" / "p11-kit-client.so"


@dataclass
class Server:
    """A server for ``token``, which clients find by the one that it gives."""

    folder: Path
    offered: Token = field(repr=False)
    process: Process

    @property
    def socket(self) -> Path:
        return self.folder / "p11.sock"

    @property
    def token(self) -> Token:
        """The same token, as clients reach it."""
        return self.seen_at(self.folder)

    def seen_at(self, folder: Path) -> Token:
        """The same, where the socket's folder is mounted elsewhere."""
        env = {"P11_KIT_SERVER_ADDRESS": f"unix:path={folder / self.socket.name}"}
        return replace(self.offered, module=CLIENT, env=env)

    def children(self) -> list[int]:
        """The processes that serve one client each."""
        tasks = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in tasks.read_text().split()]

    def allow(self, group: int) -> None:
        """Let the members of ``group`` connect, and nobody else: this version's own way fails."""
        os.chown(self.socket, -1, group)
        self.socket.chmod(0o660)


@contextmanager
def serving(token: Token, folder: Path) -> Iterator[Server]:
    """A server whose socket is in ``folder``, for ``token`` alone and never written to.

    Its log is beside the folder, where no client looks. What it started for clients ends with them.
    """
    folder.mkdir(exist_ok=True)
    socket = folder / "p11.sock"
    command: list[str | Path] = [
        "p11-kit", "server", "--foreground", "--provider", token.module,
        "--name", socket, f"pkcs11:token={token.label}?write-protected=yes",
    ]  # fmt: skip
    env: Mapping[str, str] = {"PATH": os.environ["PATH"], **token.env}
    with running(command, logs=folder.parent, env=env) as process:
        eventually("p11-kit server listens", lambda: is_listened_at(socket))
        try:
            yield Server(folder, token, process)
        finally:
            socket.unlink(missing_ok=True)


def is_listened_at(socket: Path) -> bool:
    """Whether somebody accepts there; a socket's file is there a moment before.

    By the kernel's own table (proc(5), net/unix), whose fourth column tells: to connect would be
    to be served.
    """
    table = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return any(row[-1] == str(socket) and row[3] == "00010000" for row in table)
