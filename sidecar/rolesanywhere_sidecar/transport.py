"""One signed request over HTTPS, and what came back.

Adds nothing that is signed, follows no redirect, keeps no cookie, and never retries: time, number
and length are bounded. Every way in which no answer comes is `failures.EndpointUnreachable`.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from rolesanywhere_sidecar.failures import EndpointUnreachable, InvalidReply
from rolesanywhere_sidecar.proxies import proxy_for
from rolesanywhere_sidecar.sessions import Reply
from rolesanywhere_sidecar.signing import SignedRequest
from rolesanywhere_sidecar.version import VERSION

CONNECT_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 15.0

# A session is about two kilobytes.
LARGEST_REPLY_BYTES: Final = 256 * 1024

_UNSIGNED: Final = {
    "user-agent": f"rolesanywhere-sidecar/{VERSION}",
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
        self._proxy = proxy_for(service_url, env)
        self._trust = _Trust(ca_bundle)
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds
        self._client: aiohttp.ClientSession | None = None

    async def post(self, request: SignedRequest) -> Reply:
        """The service's reply to ``request``, whatever its status.

        Raises `EndpointUnreachable` when none comes, `InvalidReply` when it is too long.
        """
        try:
            return await self._post(request, await asyncio.to_thread(self._trust.context))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            # Not chained: aiohttp's own texts hold whole URLs, and a proxy's may hold a password.
            raise self._unreachable(problem) from None

    async def close(self) -> None:
        """Close what is open; nothing is sent any more."""
        if self._client is not None:
            await self._client.close()

    async def _post(self, request: SignedRequest, context: ssl.SSLContext) -> Reply:
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
            proxy=self._proxy,
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

    def _unreachable(self, problem: Exception) -> EndpointUnreachable:
        reason, hint = self._reason(problem)
        proxied = f" through the proxy {_address(self._proxy)}" if self._proxy else ""
        return EndpointUnreachable(
            f"{_address(self._base)} cannot be reached{proxied}: {reason}", hint=hint
        )

    def _reason(self, problem: Exception) -> tuple[str, str]:
        match problem:
            case _BadTrust():
                return str(problem), "check ROLESANYWHERE_CA_BUNDLE"
            case aiohttp.ClientHttpProxyError():
                return f"the proxy answered {problem.status}", "let the proxy pass this host"
            case aiohttp.ClientConnectorDNSError():
                return "its name does not resolve", "check region, endpoint and DNS"
            case aiohttp.ClientConnectorCertificateError():
                why = getattr(problem.certificate_error, "verify_message", "") or "unknown reason"
                hint = "name the authority's PEM file with ROLESANYWHERE_CA_BUNDLE"
                return f"its TLS certificate is not trusted ({why})", hint
            case aiohttp.ClientSSLError():
                return "TLS failed", "check that the endpoint speaks HTTPS"
            case aiohttp.ConnectionTimeoutError():
                return f"no connection within {self._connect_seconds:g} seconds", _NETWORK
            case TimeoutError():
                return f"no answer within {self._total_seconds:g} seconds", _NETWORK
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
                return "it closed the connection in the middle", ""
            case OSError() if problem.strerror:
                return problem.strerror, _NETWORK
        return f"the HTTP client gave up ({type(problem).__name__})", _NETWORK


_NETWORK: Final = "check network policies, firewalls and proxies on the way"


class _BadTrust(OSError):
    """The file with the authorities is not to be read."""


class _Trust:
    """Whose TLS certificates are believed; a bundle is read anew when its content changes."""

    def __init__(self, ca_bundle: str | None) -> None:
        self._bundle = ca_bundle
        self._digest = b""
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Blocking. Raises `_BadTrust` unless some good bundle was read before."""
        try:
            return self._read()
        except _BadTrust:
            if self._context is None:
                raise
            return self._context

    def _read(self) -> ssl.SSLContext:
        digest = _content_of(self._bundle) if self._bundle else b""
        if self._context is None or digest != self._digest:
            try:
                self._context = ssl.create_default_context(cafile=self._bundle)
            except OSError:
                raise _BadTrust(
                    f"the CA bundle {self._bundle} is not a PEM file of certificates"
                ) from None
            self._digest = digest
        return self._context


def _content_of(bundle: str) -> bytes:
    try:
        content = Path(bundle).read_bytes()
    except OSError as problem:
        raise _BadTrust(f"the CA bundle {bundle} cannot be read: {problem.strerror}") from None
    return hashlib.sha256(content).digest()


def _address(url: str) -> str:
    """Host and port alone: a proxy's URL may hold a password."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
