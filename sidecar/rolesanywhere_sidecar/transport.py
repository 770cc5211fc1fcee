"""One signed request over HTTPS, and what came back.

Adds nothing that is signed, follows no redirect, keeps no cookie, and never retries: time, number
and length are bounded. Every way in which no answer comes is `failures.EndpointUnreachable`;
what keeps us from asking, a wrong proxy or CA bundle, has an error of its own.
"""

import asyncio
import os
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from rolesanywhere_sidecar.failures import EndpointUnreachable, InvalidReply
from rolesanywhere_sidecar.proxies import Proxy, proxy_for
from rolesanywhere_sidecar.sessions import Reply
from rolesanywhere_sidecar.signing import SignedRequest
from rolesanywhere_sidecar.trust import Trust
from rolesanywhere_sidecar.version import PROGRAM, VERSION

CONNECT_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 15.0

# A session is about two kilobytes.
LARGEST_REPLY_BYTES: Final = 256 * 1024

_UNSIGNED: Final = {
    "user-agent": f"{PROGRAM}/{VERSION}",
    "accept": "application/json",
    "accept-encoding": "identity",
}


class Transport:
    """The way to one service endpoint; one client for its whole life."""

    def __init__(
        self,
        service_url: str,
        *,
        ca_bundle: str | None,
        env: Mapping[str, str],
        connect_seconds: float = CONNECT_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._base = service_url
        self._env = env
        self._trust = Trust(ca_bundle)
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds
        self._client: aiohttp.ClientSession | None = None

    async def post(self, request: SignedRequest) -> Reply:
        """The service's reply to ``request``, whatever its status.

        Raises `EndpointUnreachable` when none comes, `InvalidReply` when it is too long, and
        before anything is sent `proxies.InvalidProxy` or `trust.InvalidCABundle`.
        """
        proxy = proxy_for(self._base, self._env)
        context = await asyncio.to_thread(self._trust.context)
        try:
            return await self._post(request, proxy, context)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            # Not chained: aiohttp's own texts hold whole URLs, and a proxy's may hold a password.
            raise self._unreachable(problem, proxy) from None

    async def close(self) -> None:
        """Close what is open; nothing is sent any more."""
        if self._client is not None:
            await self._client.close()

    async def _post(
        self, request: SignedRequest, proxy: Proxy | None, context: ssl.SSLContext
    ) -> Reply:
        if self._client is None:
            self._client = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(
                    total=self._total_seconds, connect=self._connect_seconds
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        async with self._client.post(
            # What is encoded is signed: nobody may encode it anew.
            URL(self._base + request.target, encoded=True),
            headers={**_UNSIGNED, **request.headers},
            data=request.body,
            allow_redirects=False,
            proxy=proxy.url if proxy else None,
            ssl=context,
        ) as response:
            body = await self._bounded(response.content)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, headers, body)

    async def _bounded(self, content: aiohttp.StreamReader) -> bytes:
        body = bytearray()
        async for chunk in content.iter_any():
            body += chunk
            if len(body) > LARGEST_REPLY_BYTES:
                raise InvalidReply(
                    f"{_address(self._base)} answered with more than {LARGEST_REPLY_BYTES} bytes",
                    hint="check that the endpoint is Roles Anywhere's",
                )
        return bytes(body)

    def _unreachable(self, problem: Exception, proxy: Proxy | None) -> EndpointUnreachable:
        reason, hint = self._reason(problem)
        proxied = f" through the proxy {proxy.address}" if proxy else ""
        return EndpointUnreachable(
            f"{_address(self._base)} cannot be reached{proxied}: {reason}", hint=hint
        )

    def _reason(self, problem: Exception) -> tuple[str, str]:
        match problem:
            case aiohttp.ClientHttpProxyError():
                return f"the proxy answered {problem.status}", "let the proxy pass this host"
            case aiohttp.ClientConnectorDNSError():
                return "its name does not resolve", "check region, endpoint and DNS"
            case aiohttp.ClientConnectorCertificateError():
                why = getattr(problem.certificate_error, "verify_message", "") or "unknown reason"
                hint = "name the authority's PEM file with --ca-bundle (ROLESANYWHERE_CA_BUNDLE)"
                return f"its TLS certificate is not trusted ({why})", hint
            case aiohttp.ClientSSLError():
                return "TLS failed", "check that the endpoint speaks HTTPS"
            case aiohttp.ConnectionTimeoutError():
                return f"no connection within {self._connect_seconds:g} seconds", _NETWORK
            case TimeoutError():
                return f"no answer within {self._total_seconds:g} seconds", _NETWORK
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
                return "it closed the connection in the middle", ""
            case aiohttp.ClientConnectorError() if problem.errno:
                # Its own text is asyncio's, a tuple with the address in it.
                return os.strerror(problem.errno), _NETWORK
            case OSError() if problem.strerror:
                return problem.strerror, _NETWORK
        return f"the HTTP client gave up ({type(problem).__name__})", _NETWORK


_NETWORK: Final = "check network policies, firewalls and proxies on the way"


def _address(url: str) -> str:
    """Host and port of the service, whose URL the settings have checked."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
