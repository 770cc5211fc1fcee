"""The one API client: plain JSON over the official client's connection, errors by their meaning.

Objects stay the dictionaries that the server sent, so that fields this version has never heard of
survive. What the server puts off is asked again a few times, as `retrying` says. Never caches, and
never repeats what failed otherwise: each caller knows better when to try again.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import aiohttp

from rolesanywhere_operator.kube import access, retrying
from rolesanywhere_operator.kube.calls import Call, Observer, unobserved
from rolesanywhere_operator.kube.errors import Unavailable, failure
from rolesanywhere_operator.kube.official import ConfigException, RESTResponse, client

log = logging.getLogger(__name__)

Json = dict[str, Any]
Sleep = Callable[[float], Awaitable[object]]

# What an API server answers within when it is well; the webhook's own patience is ten seconds.
REQUEST_TIMEOUT_SECONDS: Final = 5.0
# How much longer than it was asked for a watch may last before it counts as hung.
WATCH_GRACE_SECONDS: Final = 15.0

_JSON: Final = "application/json"
# Objects without spec and status: what is not sent costs nobody, and tells no secret (Kubernetes
# API concepts, "Metadata-only fetches").
METADATA_LIST: Final = f"{_JSON};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
METADATA: Final = f"{_JSON};as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
# What a PATCH may be (Kubernetes API concepts, "Patch and update").
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"


class Kube:
    """One connection pool to one API server, as one identity; ``observe`` is told of each call."""

    def __init__(
        self,
        api: client.ApiClient,
        *,
        observe: Observer = unobserved,
        draw: Callable[[], float] = random.random,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._api = api
        self._observe = observe
        self._draw = draw
        self._sleep = sleep

    async def get(
        self, path: str, *, query: Mapping[str, str] | None = None, accept: str = _JSON
    ) -> Json:
        """GET ``path``. Raises `KubeError`."""
        return await self.request("GET", path, query=query, accept=accept)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        accept: str = _JSON,
        content_type: str = _JSON,
    ) -> Json:
        """The JSON that the server answers, within ``REQUEST_TIMEOUT_SECONDS`` an attempt.

        Raises `KubeError` of the kind that the status means.
        """
        limit = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)
        async with self._answer(
            method,
            path,
            limit=limit,
            query=query,
            body=body,
            accept=accept,
            content_type=content_type,
        ) as response:
            text = await response.read()
        return _parsed(text, f"{method} {path}")

    async def watch(
        self,
        path: str,
        *,
        resource_version: str,
        seconds: int,
        query: Mapping[str, str] | None = None,
        accept: str = _JSON,
    ) -> AsyncIterator[Json]:
        """The events of ``path`` after ``resource_version``, bookmarks too, for ``seconds``.

        Ends when the server ends it. Raises `Gone` when the version is too old, other `KubeError`
        when the connection breaks or the server reports an error.
        """
        asked = {
            **(query or {}),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
        }
        limit = aiohttp.ClientTimeout(
            total=seconds + WATCH_GRACE_SECONDS, sock_connect=REQUEST_TIMEOUT_SECONDS
        )
        async with self._answer("GET", path, limit=limit, query=asked, accept=accept) as response:
            async for line in response.content:
                event = _parsed(line, f"watch {path}")
                if event.get("type") == "ERROR":
                    raise failure(event.get("object") or {}, 0, f"watch {path}")
                yield event

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        *,
        limit: aiohttp.ClientTimeout,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        accept: str = _JSON,
        content_type: str = _JSON,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        what = f"{method} {path}"

        async def sent() -> aiohttp.ClientResponse:
            request = await self._api.param_serialize(
                method=method,
                resource_path=path,
                query_params=list((query or {}).items()),
                header_params={"Accept": accept, "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            watch = "watch" in (query or {})
            sending = self._api.call_api(*request, _request_timeout=limit)
            return await self._begun(sending, method, path, watch=watch)

        try:
            answer = await self._patiently(sent, what)
            async with answer as response:
                if response.status >= 400:
                    raise failure(_lenient(await response.read()), response.status, what)
                yield response
        except (TimeoutError, aiohttp.ClientError, ConfigException, OSError) as broken:
            reason = str(broken) or type(broken).__name__
            raise Unavailable(f"{what}: the API server cannot be reached: {reason}") from broken

    async def _patiently(
        self, sent: Callable[[], Awaitable[aiohttp.ClientResponse]], what: str
    ) -> aiohttp.ClientResponse:
        """The first answer that is not put off, or the last one."""
        for attempt in count(1):
            answer = await sent()
            pause = retrying.pause(
                answer.status,
                answer.headers.get("Retry-After"),
                attempt=attempt,
                draw=self._draw(),
            )
            if pause is None:
                break
            # Read to its end, so that the connection serves again.
            async with answer:
                await answer.read()
            log.info("put off", extra={"call": what, "status": answer.status, "seconds": pause})
            await self._sleep(pause)
        return answer

    async def _begun(
        self, sending: Awaitable[RESTResponse], method: str, path: str, *, watch: bool
    ) -> aiohttp.ClientResponse:
        """The answer, of which the head has come; ``observe`` is told, also when none comes."""
        since, status = time.perf_counter(), 0
        try:
            answer: aiohttp.ClientResponse = (await sending).response
            status = answer.status
            return answer
        finally:
            took = time.perf_counter() - since
            self._observe(Call.of(method, path, watch=watch, status=status, seconds=took))


@asynccontextmanager
async def connect(
    kubeconfig: Path | None, *, observe: Observer = unobserved, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[Kube]:
    """A client for ``kubeconfig``, or, without one, for the cluster that this pod runs in.

    ``observe`` is told of each call, ``sleep`` waits where one is put off. Raises `KubeError` when
    neither a kubeconfig nor a pod's ServiceAccount is there.
    """
    async with client.ApiClient(configuration=await access.load(kubeconfig)) as api:
        yield Kube(api, observe=observe, sleep=sleep)


def _parsed(text: bytes, what: str) -> Json:
    try:
        value = json.loads(text)
    except ValueError as wrong:
        raise Unavailable(f"{what}: the API server's answer is not JSON: {wrong}") from wrong
    if not isinstance(value, dict):
        raise Unavailable(f"{what}: the API server's answer is not a JSON object")
    return value


def _lenient(text: bytes) -> Json:
    """The Status that came with an error; a proxy's page, say, is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
