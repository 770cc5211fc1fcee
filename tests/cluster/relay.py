"""The Service of a webhook, and the volumes of its pods, where there is no kube-proxy or kubelet.

The relay sends each connection to one by chance of those that said they were ready when last asked,
and to a dead one until then: as kube-proxy does, which tries no second backend. One port of the
Service reaches all of them, another those that have a port of its name. An open connection stays
with its backend. A volume follows its Secret as a kubelet writes it: whole, by one rename.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Final

from tests.cluster.programs import Program
from tests.support.waiting import PATIENCE_SECONDS

# A kubelet notices within a second that a container died.
PROBE_SECONDS: Final = 1.0
# One that does not answer keeps the others waiting for their turn.
ANSWER_SECONDS: Final = 2.0
# The way to a backend, and back. Reviews that take no time do not overlap: then one connection, and
# one backend, is all that an API server needs.
LATENCY_SECONDS: Final = 0.03


# What a port of the Service leads to: a number that all pods have, or a name that some have.
Target = int | str


@dataclass
class Relay:
    """The Service: ``ports`` are where its own are open here.

    ``backends``, each with the name of its port, may come and go at any time.
    """

    ports: dict[int, int] = field(default_factory=dict)
    backends: dict[Program, str] = field(default_factory=dict)
    ready: list[Program] = field(default_factory=list)
    _carried: Counter[int] = field(default_factory=Counter)

    def probe(self) -> None:
        """Ask every backend; who is not ready, or dead, gets nothing new from now on."""
        self.ready = [backend for backend in list(self.backends) if self._is_ready(backend)]

    def _is_ready(self, backend: Program) -> bool:
        """One that lives and is too slow to say stays what it was: a kubelet asks three times."""
        if backend.popen.poll() is not None:
            return False
        status, _ = backend.probe(within=ANSWER_SECONDS)
        return status == HTTPStatus.OK or (status == 0 and backend in self.ready)

    def pick(self, target: Target) -> Program | None:
        """Who gets the next connection.

        By chance; but nobody goes without any, who might have to wait for long for the next one.
        """
        among = [
            one for one in self.ready if isinstance(target, int) or self.backends.get(one) == target
        ]
        idle = [one for one in among if not self._carried[one.popen.pid]]
        return random.choice(idle or among) if among else None  # noqa: S311 - no secret

    async def carry(
        self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Join one caller with a backend until either leaves."""
        with closing(writer), suppress(OSError):  # A dead backend: the caller's connection ends.
            backend = self.pick(target)
            if backend is None:
                return
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
def relaying(targets: Mapping[int, Target]) -> Iterator[Relay]:
    """A relay of a Service whose ports lead to ``targets``, on free ports of the loopback.

    For the length of the block.
    """
    relay = Relay()
    opened = threading.Event()
    loop = asyncio.new_event_loop()
    ending = asyncio.Event()

    async def serve() -> None:
        async with AsyncExitStack() as open_ports:
            for port, target in targets.items():
                carry = partial(relay.carry, target)
                server = await asyncio.start_server(carry, "127.0.0.1", 0)
                await open_ports.enter_async_context(server)
                relay.ports[port] = server.sockets[0].getsockname()[1]
            opened.set()
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
            assert opened.wait(PATIENCE_SECONDS), "the ports of the Service do not open"
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
