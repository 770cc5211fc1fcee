"""The webhook as a process: its certificate changes, and its end comes, while reviews flow.

The API server that it lists bindings from is a page that holds none.
"""

import asyncio
import json
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import pytest

from tests.cluster.programs import Program, running
from tests.operator.builders import IMAGE, a_pod, a_review
from tests.operator.certificates import Pair, a_pair
from tests.support.waiting import eventually

REVIEW = json.dumps(a_review(a_pod(inject="false"))).encode()
HEADERS = {"Content-Type": "application/json"}
NO_BINDINGS = json.dumps({"metadata": {"resourceVersion": "1"}, "items": []}).encode()
OLD, NEW = a_pair("old"), a_pair("new")


class NoBindings(BaseHTTPRequestHandler):
    """Lists nothing, and ends each watch after a moment."""

    def do_GET(self) -> None:
        watch = "watch=1" in self.path
        if watch:
            time.sleep(0.5)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"" if watch else NO_BINDINGS)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """A way to the page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), NoBindings)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    path = tmp_path / "kubeconfig"
    where = f"http://127.0.0.1:{server.server_port}"
    document = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": where}}],
        "users": [{"name": "x", "user": {}}],
    }
    path.write_text(json.dumps(document))
    yield path
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def webhook(kubeconfig: Path, tmp_path: Path) -> Iterator[Program]:
    """A webhook that serves ``OLD``."""
    hold(tmp_path, certificate=OLD, private_key=OLD)
    settings = {
        "port": 0,
        "sidecar_image": IMAGE,
        "certificate": tmp_path / "tls.crt",
        "private_key": tmp_path / "tls.key",
    }
    log = tmp_path / "webhook.log"
    with running("webhook", kubeconfig=kubeconfig, log=log, settings=settings) as started:
        eventually("it is ready", lambda: started.is_ready)
        yield started


def hold(folder: Path, *, certificate: Pair, private_key: Pair) -> None:
    (folder / "tls.crt").write_bytes(certificate.certificate)
    (folder / "tls.key").write_bytes(private_key.private_key)


class Callers:
    """API servers that trust both certificates: some keep their connection, some make new ones."""

    def __init__(self, webhook: Program) -> None:
        self._url = f"https://127.0.0.1:{webhook.port('reviews')}/inject?timeout=10s"
        both = (OLD.certificate + NEW.certificate).decode()
        self._tls = ssl.create_default_context(cadata=both)
        self.answered = 0

    async def call(self, until: asyncio.Event, *, anew: bool) -> None:
        """Ask until told to stop, or to leave the connection. Raises whatever goes wrong."""
        connector = aiohttp.TCPConnector(ssl=self._tls, force_close=anew)
        async with aiohttp.ClientSession(connector=connector) as session:
            while not until.is_set():
                async with session.post(self._url, data=REVIEW, headers=HEADERS) as answer:
                    assert (await answer.json())["response"]["allowed"] is True
                    self.answered += 1
                    if answer.headers.get("Connection") == "close" and not anew:
                        return
                await asyncio.sleep(0.005)


async def within(what: str, look: Callable[[], object]) -> None:
    """Return once ``look`` finds something, and let others work meanwhile."""
    await asyncio.to_thread(eventually, what, look)


@pytest.mark.long
async def test_the_certificate_changes_under_reviews_and_nothing_bad_is_ever_served(
    webhook: Program, tmp_path: Path
) -> None:
    callers, stop = Callers(webhook), asyncio.Event()

    def complaints() -> int:
        return len(webhook.lines("serving certificate not usable"))

    expired = a_pair("expired", starts_in=-timedelta(days=2))
    async with asyncio.TaskGroup() as calling:
        for anew in (True, True, False):
            calling.create_task(callers.call(stop, anew=anew))
        hold(tmp_path, certificate=NEW, private_key=OLD)
        await within("the torn pair is seen", lambda: complaints() == 1)
        (tmp_path / "tls.crt").unlink()
        await within("the missing file is seen", lambda: complaints() == 2)
        hold(tmp_path, certificate=expired, private_key=expired)
        await within("the expired pair is seen", lambda: complaints() == 3)
        assert webhook.is_ready
        before = callers.answered
        hold(tmp_path, certificate=NEW, private_key=NEW)
        loaded = "serving certificate loaded"
        await within("the new pair is served", lambda: len(webhook.lines(loaded)) == 2)
        await within("reviews go on", lambda: callers.answered > before + 20)
        stop.set()
    problems = [line["problem"] for line in webhook.lines("serving certificate not usable")]
    for problem, word in zip(problems, ("mismatch", "No such file", "expired"), strict=True):
        assert word in problem.replace("_", " ")


async def test_an_end_drops_no_review_and_is_said_before_it_comes(webhook: Program) -> None:
    callers, never = Callers(webhook), asyncio.Event()
    async with asyncio.TaskGroup() as calling:
        kept = [calling.create_task(callers.call(never, anew=False)) for _ in range(4)]
        await within("reviews flow", lambda: callers.answered > 50)
        webhook.popen.send_signal(signal.SIGTERM)
        await within("it says so", lambda: webhook.probe() == (503, "the webhook is stopping\n"))
        # An API server that has not heard of it yet still gets an answer.
        before = callers.answered
        await callers.call(_after(), anew=True)
        assert callers.answered > before
        await asyncio.wait(kept, timeout=5)
    assert await asyncio.to_thread(webhook.popen.wait, 30) == 0


def _after() -> asyncio.Event:
    """An event that is set in half a second."""
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, event.set)
    return event
