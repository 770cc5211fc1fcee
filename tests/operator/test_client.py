"""The API client against a mock of an API server: what answers mean, and who asks."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client as official
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from rolesanywhere_operator.cli import cluster
from rolesanywhere_operator.kube import client, retrying
from rolesanywhere_operator.kube.calls import Call, Observer, unobserved
from rolesanywhere_operator.kube.client import Kube
from rolesanywhere_operator.kube.errors import (
    Conflict,
    Forbidden,
    Gone,
    KubeError,
    NotFound,
    Unavailable,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Handler) -> AsyncIterator[str]:
    """A mock API server that answers everything with ``answer``; yields its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")


def kubeconfig(url: str, folder: Path) -> Path:
    """A kubeconfig for ``url``."""
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": url}}],
        "users": [{"name": "x", "user": {"token": "secret-token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def patient(
    url: str, folder: Path, pauses: list[float], *, observe: Observer = unobserved
) -> AbstractAsyncContextManager[Kube]:
    """A client for ``url`` that notes in ``pauses`` how long it would have waited."""

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    return client.connect(kubeconfig(url, folder), observe=observe, sleep=sleep)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, KubeError), (401, Forbidden), (403, Forbidden), (404, NotFound), (409, Conflict),
        (410, Gone), (429, Unavailable), (500, Unavailable), (503, Unavailable),
    ],
)  # fmt: skip
async def test_errors_are_told_by_their_meaning(
    status: int, kind: type[KubeError], tmp_path: Path
) -> None:
    async def answer(_: web.Request) -> web.Response:
        body = {"kind": "Status", "code": status, "message": "bindings are out"}
        return web.json_response(body, status=status)

    async with serving(answer) as url, patient(url, tmp_path, []) as kube:
        with pytest.raises(KubeError, match="GET /apis/x: bindings are out") as caught:
            await kube.get("/apis/x")
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.retryable is (kind is Unavailable)


@pytest.mark.parametrize("status", [429, 503])
async def test_what_is_put_off_is_asked_again_when_the_server_says(
    status: int, tmp_path: Path
) -> None:
    bodies: list[object] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        if len(bodies) < 3:
            body = {"kind": "Status", "code": status, "message": "storage is (re)initializing"}
            return web.json_response(body, status=status, headers={"Retry-After": "2"})
        return web.json_response({"done": True})

    pauses: list[float] = []
    calls: list[Call] = []
    async with (
        serving(answer) as url,
        patient(url, tmp_path, pauses, observe=calls.append) as kube,
    ):
        assert await kube.request("POST", "/apis/x", body={"a": 1}) == {"done": True}
    assert bodies == [{"a": 1}] * 3
    assert len(pauses) == 2
    assert all(2 <= pause <= 2.5 for pause in pauses)
    assert [call.status for call in calls] == [status, status, 200]


async def test_a_watch_that_is_put_off_begins_later(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.query["resourceVersion"])
        if len(asked) == 1:
            return web.json_response({"code": 429}, status=429)
        return web.Response(text='{"type": "BOOKMARK", "object": {}}\n')

    pauses: list[float] = []
    async with serving(answer) as url, patient(url, tmp_path, pauses) as kube:
        seen = [one async for one in kube.watch("/x", resource_version="7", seconds=1)]
    assert (len(seen), asked, len(pauses)) == (1, ["7", "7"], 1)


async def test_a_command_waits_for_a_server_that_is_about_to_be_ready(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if len(asked) < 3:
            body = {"kind": "Status", "code": 429, "message": "storage is (re)initializing"}
            return web.json_response(body, status=429, headers={"Retry-After": "0"})
        return web.json_response({"items": [{"metadata": {"name": "reports"}}]})

    async with serving(answer) as url:
        where = kubeconfig(url, tmp_path)
        found = await asyncio.to_thread(cluster.bindings_of, ["team-a"], where)
    assert found["team-a"].keys() == {"reports"}
    assert len(asked) == 3


async def test_a_server_that_puts_off_for_ever_is_given_up(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({"code": 503, "message": "not yet"}, status=503)

    pauses: list[float] = []
    async with serving(answer) as url, patient(url, tmp_path, pauses) as kube:
        with pytest.raises(Unavailable, match="not yet"):
            await kube.get("/x")
    assert len(asked) == retrying.ATTEMPTS
    assert sum(pauses) < 5


@pytest.mark.parametrize(
    ("status", "retry_after", "attempt", "expected"),
    [
        (429, "1", 1, 1.0), (503, "1", 3, 1.0), (429, "0", 1, 0.0), (429, None, 1, 0.25),
        (429, None, 3, 1.0), (429, "soon", 1, 0.25),
        (429, "Wed, 21 Oct 2026 07:28:00 GMT", 1, 0.25),
        (429, "1", retrying.ATTEMPTS, None), (429, "30", 1, None), (500, "1", 1, None),
        (409, "1", 1, None), (200, None, 1, None), (429, "-1", 1, 0.25), (429, "\u00b2", 1, 0.25),
    ],
)  # fmt: skip
def test_when_a_call_is_made_again(
    status: int, retry_after: str | None, attempt: int, expected: float | None
) -> None:
    assert retrying.pause(status, retry_after, attempt=attempt, draw=0.0) == expected


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"\xff", b""])
async def test_an_answer_that_is_no_object_is_an_outage(body: bytes, tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async with serving(answer) as url, client.connect(kubeconfig(url, tmp_path)) as kube:
        with pytest.raises(Unavailable, match="answer is not"):
            await kube.get("/apis/x")


async def test_a_proxys_error_page_is_an_error_by_its_status(tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="<html>bad gateway", status=502)

    async with serving(answer) as url, client.connect(kubeconfig(url, tmp_path)) as kube:
        with pytest.raises(Unavailable, match="HTTP status 502"):
            await kube.get("/apis/x")


async def test_every_call_is_told_of_answered_or_not(tmp_path: Path, unused_tcp_port: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        if "watch" in request.query:
            return web.Response(text='{"type": "BOOKMARK", "object": {}}\n')
        return web.json_response({}, status=404)

    calls: list[Call] = []
    async with serving(answer) as url:
        where = kubeconfig(url, tmp_path)
        async with client.connect(where, observe=calls.append) as kube:
            async for _ in kube.watch("/api/v1/pods", resource_version="1", seconds=1):
                pass
            with pytest.raises(NotFound):
                await kube.get("/api/v1/pods")
    where = kubeconfig(f"http://127.0.0.1:{unused_tcp_port}", tmp_path)
    async with client.connect(where, observe=calls.append) as kube:
        with pytest.raises(Unavailable):
            await kube.get("/api/v1/namespaces/a")
    told = [(call.verb, call.resource, call.status) for call in calls]
    assert told == [("watch", "pods", 200), ("list", "pods", 404), ("get", "namespaces", 0)]
    assert all(0 < call.seconds < 5 for call in calls)


async def test_nobody_there_is_an_outage(tmp_path: Path, unused_tcp_port: int) -> None:
    where = kubeconfig(f"http://127.0.0.1:{unused_tcp_port}", tmp_path)
    async with client.connect(where) as kube:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await kube.get("/apis/x")


async def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    monkeypatch.setattr(client, "REQUEST_TIMEOUT_SECONDS", 0.05)
    async with serving(answer) as url, client.connect(kubeconfig(url, tmp_path)) as kube:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await kube.get("/apis/x")


async def test_a_body_goes_out_as_it_was_given(tmp_path: Path) -> None:
    seen: list[object] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, request.content_type))
        seen.append(await request.json())
        seen.append(request.headers["Authorization"])
        return web.json_response({})

    body = {"status": {"snake_case": None, "camelCase": [1]}}
    async with serving(answer) as url, client.connect(kubeconfig(url, tmp_path)) as kube:
        await kube.request("PUT", "/x", body=body)
    assert seen == [("PUT", "application/json"), body, "Bearer secret-token"]


def event(kind: str, **fields: object) -> bytes:
    return json.dumps({"type": kind, "object": fields}).encode() + b"\n"


async def test_a_watch_yields_events_until_the_server_ends_it(tmp_path: Path) -> None:
    queries: list[dict[str, str]] = []
    long = "x" * 300_000

    async def answer(request: web.Request) -> web.StreamResponse:
        queries.append(dict(request.query))
        stream = web.StreamResponse()
        await stream.prepare(request)
        await stream.write(event("ADDED", name="a") + event("ADDED", name=long)[:1000])
        await asyncio.sleep(0.01)
        await stream.write(event("ADDED", name=long)[1000:])
        return stream

    async with serving(answer) as url, client.connect(kubeconfig(url, tmp_path)) as kube:
        seen = [one async for one in kube.watch("/x", resource_version="7", seconds=60)]
    assert [one["object"]["name"] for one in seen] == ["a", long]
    assert queries == [
        {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": "7",
         "timeoutSeconds": "60"}
    ]  # fmt: skip


async def test_a_watch_that_is_too_old_is_gone(tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=event("ERROR", code=410, message="too old resource version"))

    async with serving(answer) as url, client.connect(kubeconfig(url, tmp_path)) as kube:
        with pytest.raises(Gone, match="too old"):
            _ = [one async for one in kube.watch("/x", resource_version="7", seconds=60)]


async def test_a_watch_that_breaks_off_is_an_outage(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await stream.write(event("ADDED", name="a") + b'{"type": ')
        assert request.transport is not None
        request.transport.abort()
        return stream

    async with serving(answer) as url, client.connect(kubeconfig(url, tmp_path)) as kube:
        with pytest.raises(Unavailable):
            _ = [one async for one in kube.watch("/x", resource_version="7", seconds=60)]


async def test_the_pods_token_is_read_again_when_it_is_old(tmp_path: Path) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.json_response({})

    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    authority.write_text("never used: the mock speaks plain HTTP")
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    settings = official.Configuration()
    loader = InClusterConfigLoader(str(token), str(authority), environ=environment)
    loader.load_and_set(settings)
    settings.ssl_ca_cert = None
    async with serving(answer) as url:
        loader.host = url
        async with official.ApiClient(configuration=settings) as api:
            settings.host = url
            await Kube(api).get("/x")
            token.write_text("second")
            loader.token_expires_at = datetime.now() - timedelta(days=1)  # noqa: DTZ005 - its own naive clock
            loader.ssl_ca_cert = None
            await Kube(api).get("/x")
    assert seen == ["bearer first", "bearer second"]


async def test_a_broken_kubeconfig_is_named_and_its_token_is_not(tmp_path: Path) -> None:
    where = kubeconfig("http://127.0.0.1:9", tmp_path)
    where.write_text(where.read_text().replace("  user:\n", "  uzer:\n"))
    with pytest.raises(KubeError) as caught:
        async with client.connect(where):
            pytest.fail("there is nobody to connect as")
    assert str(where) in str(caught.value)
    assert "secret-token" not in str(caught.value)


async def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubeError, match="nowhere"):
        async with client.connect(tmp_path / "nowhere"):
            pytest.fail("there is nothing to connect to")
