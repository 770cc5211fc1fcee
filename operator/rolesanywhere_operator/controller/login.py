"""kopf's way to the API server: the official client's credentials on a session of our own.

kopf reads a ServiceAccount's token once, and ends the operator when a 401 brings the same token
again. Here every request asks the official client for the token, which follows one that changes.
"""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

import aiohttp
import kopf

from rolesanywhere_operator.kube import access
from rolesanywhere_operator.kube.calls import Call, Observer, unobserved
from rolesanywhere_operator.kube.errors import KubeError
from rolesanywhere_operator.kube.official import client


async def log_in(
    kubeconfig: Path | None, watch_begins: Callable[[], None], *, observe: Observer = unobserved
) -> kopf.AiohttpSession:
    """A session for ``kubeconfig``, or without one for the cluster that this pod runs in.

    ``watch_begins`` is called whenever the server has agreed to a watch, ``observe`` is told of
    each call. kopf closes the session. Raises ``kopf.PermanentError`` when there is no way to the
    API server.
    """
    try:
        credentials = await access.load(kubeconfig)
    except KubeError as problem:
        raise kopf.PermanentError(str(problem)) from problem
    # The official client knows every way a kubeconfig can say whom to trust.
    tls = client.ApiClient(credentials).rest_client.ssl_context
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=tls),
        middlewares=(_bearer(credentials), _told(watch_begins), _observed(observe)),
    )
    return kopf.AiohttpSession(server=credentials.host, aiohttp_session=session)


def _bearer(credentials: client.Configuration) -> aiohttp.ClientMiddlewareType:
    async def with_token(
        request: aiohttp.ClientRequest,
        send: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        token = await credentials.get_api_key_with_prefix("BearerToken")
        if token:
            request.headers["Authorization"] = token
        return await send(request)

    return with_token


def _told(watch_begins: Callable[[], None]) -> aiohttp.ClientMiddlewareType:
    async def with_a_pulse(
        request: aiohttp.ClientRequest,
        send: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        answer = await send(request)
        if "watch" in request.url.query and answer.status < HTTPStatus.BAD_REQUEST:
            watch_begins()
        return answer

    return with_a_pulse


def _observed(observe: Observer) -> aiohttp.ClientMiddlewareType:
    async def with_an_observer(
        request: aiohttp.ClientRequest,
        send: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        since, status = time.perf_counter(), 0
        try:
            answer = await send(request)
            status = answer.status
            return answer
        finally:
            took, watch = time.perf_counter() - since, "watch" in request.url.query
            observe(Call.of(request.method, request.url.path, watch=watch, status=status,
                            seconds=took))  # fmt: skip

    return with_an_observer
