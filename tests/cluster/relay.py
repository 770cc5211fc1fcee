"""The Service of a webhook, and the volumes of its pods, where there is no kube-proxy or kubelet.

The relay sends each connection to the backend with the fewest of those that said they were ready
when last asked, and to a dead one until then: as kube-proxy does, which tries no second backend. An
open connection stays with its backend. A volume follows its Secret as a kubelet writes it: whole,
by one rename.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from tests.cluster.programs import Program

# A kubelet notices within a second that a container died.
PROBE_SECONDS: Final = 0.5
# The way to a backend, and back. Reviews that take no time do not overlap: then one connection, and
# one backend, is all that an API server needs.
LATENCY_SECONDS: Final = 0.03


@dataclass
class Relay:
    """The Service; ``backends`` may be changed at any time."""

    port: int = 0
    backends: list[Program] = field(default_factory=list)
    ready: list[Program] = field(default_factory=list)
    _carried: Counter[int] = field(default_factory=Counter)

    def probe(self) -> None:
        """Ask every backend; who does not answer gets nothing new from now on."""
        self.ready = [backend for backend in list(self.backends) if backend.is_ready]

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join one caller with a backend until either leaves."""
        ready = self.ready
        with closing(writer), suppress(OSError):  # A dead backend: the caller's connection ends.
            if not ready:
                return
            backend = min(ready, key=lambda one: self._carried[one.popen.pid])
            self._carried[backend.popen.pid] += 1
            there, back = await asyncio.open_connection("127.0.0.1", backend.port("reviews"))
            with closing(back):
                ways = [
                    asyncio.ensure_future(w) for w in (_pour(reader, back), _pour(there, writer))
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            await asyncio.sleep(LATENCY_SECONDS)
            writer.write(data)
            await writer.drain()


@contextmanager
def relaying() -> Iterator[Relay]:
    """A relay on a free loopback port, for the length of the block."""
    relay = Relay()
    opened = threading.Event()
    loop = asyncio.new_event_loop()
    ending = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(relay.carry, "127.0.0.1", 0)
        relay.port = server.sockets[0].getsockname()[1]
        opened.set()
        async with server:
            await ending.wait()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)  # What was closed is gone only in a later turn of the loop.

    with repeated(relay.probe, PROBE_SECONDS):
        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
        thread.start()
        try:
            opened.wait()
            yield relay
        finally:
            loop.call_soon_threadsafe(ending.set)
            thread.join()
            loop.close()


@contextmanager
def repeated(work: Callable[[], object], seconds: float) -> Iterator[None]:
    """Do ``work`` every so many ``seconds`` in a thread of its own, for the length of the block."""
    done = threading.Event()

    def loop() -> None:
        while not done.wait(seconds):
            work()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Volume:
    """A folder in which files change all at once (Kubernetes' AtomicWriter)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._held: Mapping[str, bytes] = {}
        self._versions = count()

    def hold(self, files: Mapping[str, bytes]) -> None:
        """Show ``files`` from now on."""
        if files == self._held:
            return
        version = self.folder / f"..{next(self._versions)}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_bytes(content)
        fresh = self.folder / "..fresh"
        fresh.symlink_to(version.name)
        fresh.rename(self.folder / "..data")
        for name in files:
            with suppress(FileExistsError):
                (self.folder / name).symlink_to(f"..data/{name}")
        self._held = dict(files)
