"""One signed request over HTTPS, and what came back.

Adds nothing that is signed, follows no redirect, keeps no cookie: time, number and length are
bounded. Never retries, but for a kept connection that the service had closed meanwhile. Every way
in which no answer comes is `failures.EndpointUnreachable`; what keeps us from asking, a wrong
proxy or CA bundle, has an error of its own.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from rolesanywhere_sidecar.failures import EndpointUnreachable
from rolesanywhere_sidecar.lanes import Lane
from rolesanywhere_sidecar.service.conversation import Conversation
from rolesanywhere_sidecar.service.dialing import Unreached, Way, address_of, dial, explained
from rolesanywhere_sidecar.service.proxies import Proxy, proxy_for
from rolesanywhere_sidecar.service.sessions import Reply
from rolesanywhere_sidecar.service.trust import Trust
from rolesanywhere_sidecar.signing import SignedRequest

CONNECT_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 15.0
# How long a connection is kept for the next request: a retry finds it, and between two renewals
# nobody pays for it.
KEPT_SECONDS: Final = 20.0


class _Stale(Exception):
    """A kept connection that died before a byte of the reply."""


class Transport:
    """The way to one service endpoint, with at most one connection kept open to it."""

    def __init__(
        self,
        service_url: str,
        *,
        ca_bundle: str | None,
        env: Mapping[str, str],
        connect_seconds: float = CONNECT_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
        kept_seconds: float = KEPT_SECONDS,
    ) -> None:
        parts = urlsplit(service_url)
        self._url = service_url
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._is_tls else 80)
        self._env = env
        self._trust = Trust(ca_bundle)
        self._lane = Lane("authorities")
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds
        self._kept_seconds = kept_seconds
        self._kept: Conversation | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def post(self, request: SignedRequest) -> Reply:
        """The service's reply to ``request``, whatever its status.

        Raises `EndpointUnreachable` when none comes, `InvalidReply` when it is too long, and
        before anything is sent `proxies.InvalidProxy` or `trust.InvalidCABundle`.
        """
        proxy = proxy_for(self._url, self._env)
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._ask(await self._way(proxy), request)
        except TimeoutError as late:
            # The kernel's own has a number, and may come before ours.
            mine = Unreached(f"no answer within {self._total_seconds:g} seconds")
            problem = explained(late) if late.errno else mine
        except Unreached as known:
            problem = known
        except OSError as wrong:
            problem = explained(wrong)
        # Not chained: other libraries' texts may hold addresses, and what was sent.
        proxied = f" through the proxy {proxy.address}" if proxy else ""
        raise EndpointUnreachable(
            f"{address_of(self._host, self._port)} cannot be reached{proxied}: {problem.reason}",
            hint=problem.hint,
        )

    async def close(self) -> None:
        """Close what is open; nothing is sent any more."""
        if kept := self._take():
            kept.abort()
            with suppress(OSError):
                await kept.streams[1].wait_closed()

    async def _way(self, proxy: Proxy | None) -> Way:
        """Reads authorities from files, where they are needed."""
        context = await self._lane.run(self._trust.context) if self._is_tls else None
        return Way(self._host, self._port, context, proxy)

    async def _ask(self, way: Way, request: SignedRequest) -> Reply:
        if kept := self._take():
            if kept.way == way and await kept.is_silent():
                with suppress(_Stale):
                    return await self._converse(kept, request)
            kept.abort()
        return await self._converse(await self._dialled(way), request)

    async def _dialled(self, way: Way) -> Conversation:
        try:
            async with asyncio.timeout(self._connect_seconds):
                return Conversation(way, await dial(way))
        except TimeoutError as late:
            if late.errno:
                raise
            raise Unreached(f"no connection within {self._connect_seconds:g} seconds") from None

    async def _converse(self, conversation: Conversation, request: SignedRequest) -> Reply:
        try:
            reply = await conversation.post(request)
        except BaseException as problem:
            conversation.abort()
            unheard = conversation.is_kept and not conversation.received
            if unheard and isinstance(problem, OSError | Unreached):
                raise _Stale from None
            raise
        self._keep(conversation)
        return reply

    def _keep(self, conversation: Conversation) -> None:
        """For the next request, if the service lets us and no other is kept already."""
        if self._kept is not None or not conversation.may_go_on():
            conversation.abort()
            return
        self._kept = conversation
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._kept_seconds, self._drop)

    def _take(self) -> Conversation | None:
        if self._timer is not None:
            self._timer.cancel()
        kept, self._kept = self._kept, None
        return kept

    def _drop(self) -> None:
        if kept := self._take():
            kept.abort()
