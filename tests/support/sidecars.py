"""The real sidecar as a process of its own, told everything by its environment.

Always ended, and its whole log kept: a test's last look is for secrets in it.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.ports import free_port

PATIENCE_SECONDS = 60.0


@dataclass
class RunningSidecar:
    """A started ``serve``; ``ports`` are those of credentials and of probes."""

    process: asyncio.subprocess.Process
    port: int
    probe_port: int
    log_file: Path
    client: aiohttp.ClientSession = field(repr=False)

    @property
    def log(self) -> str:
        """Everything it has written so far."""
        return self.log_file.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's records of one event so far."""
        # What follows the last end of a line is a record that is being written.
        *lines, _ = self.log.split("\n")
        records = [json.loads(line) for line in lines]
        return [record for record in records if record["event"] == name]

    async def logged(self, name: str) -> dict[str, Any]:
        """The first record of an event, as soon as it is there."""

        async def there() -> bool:
            assert self.process.returncode is None, self.log
            return bool(self.events(name))

        await eventually(there, what=lambda: f"{name!r} in its log: {self.log}")
        return self.events(name)[0]

    async def probe(self, path: str) -> tuple[int, str]:
        """Status and sentence of ``/livez`` or ``/readyz``; 0 while nobody listens."""
        return await self.get(f"http://127.0.0.1:{self.probe_port}{path}")

    async def credentials(self, token: str) -> tuple[int, dict[str, str]]:
        """Status and document of the container endpoint."""
        url = f"http://127.0.0.1:{self.port}/v1/credentials"
        status, text = await self.get(url, Authorization=token)
        return status, json.loads(text)

    async def get(self, url: str, **headers: str) -> tuple[int, str]:
        try:
            async with self.client.get(url, headers=headers) as response:
                return response.status, await response.text()
        except aiohttp.ClientConnectorError:
            return 0, ""

    async def until_ready(self) -> None:
        """Wait for credentials, or fail with the log."""

        async def ready() -> bool:
            assert self.process.returncode is None, self.log
            return (await self.probe("/readyz"))[0] == 200

        await eventually(ready, what=lambda: f"readiness; its log: {self.log}")

    async def terminated(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        return await asyncio.wait_for(self.process.wait(), PATIENCE_SECONDS)


@asynccontextmanager
async def a_sidecar(
    folder: Path,
    env: Mapping[str, str],
    *,
    terminal: int | None = None,
    by: Sequence[str | Path] = (),
) -> AsyncIterator[RunningSidecar]:
    """``serve`` with ``env`` and two free ports, killed in the end if it is still there.

    Its log is a file, unless a ``terminal``'s descriptor is given. ``by`` is a command that becomes
    it, e.g. as another user.
    """
    port, probe_port = free_port(), free_port()
    log_file = folder / "sidecar.log"
    ports = {"ROLESANYWHERE_PORT": str(port), "ROLESANYWHERE_PROBE_PORT": str(probe_port)}
    with log_file.open("w") as stderr:
        process = await asyncio.create_subprocess_exec(
            *by, sys.executable, "-m", "rolesanywhere_sidecar", "serve",
            env={"PATH": os.environ.get("PATH", ""), **ports, **env},
            cwd=folder, stdout=stderr, stderr=stderr if terminal is None else terminal,
        )  # fmt: skip
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
            yield RunningSidecar(process, port, probe_port, log_file, client)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def eventually(
    holds: Callable[[], Awaitable[bool]],
    *,
    what: Callable[[], str] = lambda: "it",
    within: float = PATIENCE_SECONDS,
) -> None:
    """Wait until ``holds`` does, or fail after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not await holds():
        assert time.monotonic() < deadline, f"waited {within} seconds in vain for {what()}"
        await asyncio.sleep(0.05)


async def until_kept(session_file: Path, access_key_id: str) -> None:
    """Wait until that session is in its file: it is served before it is kept."""

    async def kept() -> bool:
        return _key_kept(session_file) == access_key_id

    await eventually(kept, what=lambda: f"{access_key_id} in {session_file}")


def _key_kept(session_file: Path) -> str:
    """The access key in a session file; none in what is no such file."""
    try:
        document = json.loads(session_file.read_text())
    except (FileNotFoundError, ValueError):
        return ""
    return str(document["credentials"]["access_key_id"])
