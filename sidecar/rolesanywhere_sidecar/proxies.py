"""Which proxy a URL goes through, by the environment variables that everybody knows.

Never reads the environment itself. Not left to aiohttp, because its way of trusting the environment
also takes Authorization from ~/.netrc, and ours is the signature.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def proxy_for(url: str, env: Mapping[str, str]) -> str | None:
    """The proxy's URL, or None: ``https_proxy`` (or upper case), but for ``no_proxy``.

    Loopback is never asked of a proxy, whatever the environment says.
    """
    target = urlsplit(url)
    host = target.hostname or ""
    proxy = _variable(f"{target.scheme}_proxy", env) or _variable("all_proxy", env)
    if proxy is None or _is_loopback(host):
        return None
    exceptions = (_variable("no_proxy", env) or "").replace(",", " ").split()
    if any(_covers(exception, host, target.port or 443) for exception in exceptions):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(name: str, env: Mapping[str, str]) -> str | None:
    """Lower case wins, as in curl."""
    return env.get(name) or env.get(name.upper()) or None


def _covers(exception: str, host: str, port: int) -> bool:
    """``*``, a domain with all below it, an address or a network; each but the last with a port."""
    if exception == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(exception, strict=False)
    except ValueError:
        name, _, its_port = exception.lower().partition(":")
        domain = name.removeprefix("*").removeprefix(".")
        right_port = its_port in ("", str(port))
        return bool(domain) and right_port and (host == domain or host.endswith(f".{domain}"))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
