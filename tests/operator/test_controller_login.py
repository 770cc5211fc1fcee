"""kopf's session carries the token that is in the pod's file now, not the one it began with."""

import datetime
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kopf
import pytest
from aiohttp import web
from kubernetes.aio.config import incluster_config

from rolesanywhere_operator.controller.login import log_in
from rolesanywhere_operator.kube.calls import Call
from tests.cluster.kubeconfigs import write_kubeconfig
from tests.cluster.pki import write_keys


class Clock(datetime.datetime):
    """The official client's clock, which a test can move."""

    passed = datetime.timedelta()

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "Clock":
        moved = datetime.datetime(2026, 3, 1, 12, tzinfo=tz) + cls.passed
        return cls.fromisoformat(moved.isoformat())


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    return write_keys(tmp_path, now=datetime.datetime.now(datetime.UTC)).ca


@pytest.fixture
def pod(tmp_path: Path, ca_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The inside of a pod; the token's file."""
    token = tmp_path / "token"
    token.write_text("first")
    clock = SimpleNamespace(datetime=Clock, timedelta=datetime.timedelta)
    monkeypatch.setattr(Clock, "passed", datetime.timedelta())
    monkeypatch.setattr(incluster_config, "datetime", clock)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(ca_file))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return token


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    """The address of a server that answers with the Authorization header it got."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("Authorization", "none"))

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


def ignored() -> None:
    """What these tests do with a watch."""


async def token_sent(session: Any, address: str) -> str:
    async with session.get(address) as response:
        return str(await response.text())


def rotate(token: Path) -> None:
    """The kubelet renews the token; the official client looks again after a minute."""
    token.write_text("second")
    Clock.passed = datetime.timedelta(minutes=2)


async def test_a_watch_that_the_server_agrees_to_is_told_and_nothing_else_is(
    pod: Path, echo: str
) -> None:
    told: list[str] = []
    login = await log_in(None, lambda: told.append("watch"))
    async with login.aiohttp_session as session:
        for url in (echo, f"{echo}?limit=500", f"{echo}nowhere?watch=true"):
            await token_sent(session, url)
        assert told == []
        await token_sent(session, f"{echo}?watch=true")
        assert told == ["watch"]


async def test_a_rotated_token_is_used_without_a_new_login(pod: Path, echo: str) -> None:
    login = await log_in(None, ignored)
    async with login.aiohttp_session as session:
        assert await token_sent(session, echo) == "bearer first"
        rotate(pod)
        assert await token_sent(session, echo) == "bearer second"


async def test_in_a_pod_the_api_server_is_where_the_pod_says(pod: Path) -> None:
    login = await log_in(None, ignored)
    await login.aiohttp_session.close()
    assert login.server == "https://10.0.0.1:443"


async def test_a_kubeconfig_is_followed(tmp_path: Path, ca_file: Path, echo: str) -> None:
    url = "https://127.0.0.1:6443"
    path = write_kubeconfig(tmp_path / "config", url=url, ca_file=ca_file, token="mine")
    login = await log_in(path, ignored)
    async with login.aiohttp_session as session:
        assert login.server == url
        assert await token_sent(session, echo) == "Bearer mine"


async def test_two_logins_are_never_taken_for_one_that_failed(pod: Path) -> None:
    """kopf refuses credentials that are equal to some that a 401 has spoiled."""
    first, second = await log_in(None, ignored), await log_in(None, ignored)
    await first.aiohttp_session.close()
    await second.aiohttp_session.close()
    assert first != second


async def test_without_any_way_in_the_error_names_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(kopf.PermanentError, match=r"the pod's ServiceAccount"):
        await log_in(None, ignored)
    missing = tmp_path / "missing"
    with pytest.raises(kopf.PermanentError, match=str(missing)):
        await log_in(missing, ignored)


async def test_a_broken_kubeconfig_is_named_and_its_token_is_not(
    tmp_path: Path, ca_file: Path
) -> None:
    url = "https://127.0.0.1:6443"
    path = write_kubeconfig(tmp_path / "config", url=url, ca_file=ca_file, token="mine-alone")
    path.write_text(path.read_text().replace('"user": {', '"uzer": {'))
    with pytest.raises(kopf.PermanentError, match=str(path)) as caught:
        await log_in(path, ignored)
    assert "mine-alone" not in str(caught.value)


async def test_every_call_of_kopfs_is_told_of(pod: Path, echo: str) -> None:
    calls: list[Call] = []
    kopfs = await log_in(None, ignored, observe=calls.append)
    async with kopfs.aiohttp_session as session:
        await token_sent(session, echo)
    [call] = calls
    assert (call.verb, call.resource, call.status) == ("get", "discovery", 200)
