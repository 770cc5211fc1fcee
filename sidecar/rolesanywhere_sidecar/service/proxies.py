"""Which proxy a URL goes through, by the environment variables that everybody knows.

Never reads the environment itself, and never shows what a variable holds: there may be a password
in it, wherever a mistake has put it. Never reads ~/.netrc either: our Authorization is the
signature.
"""

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.hosts import is_host, is_loopback

# RFC 3986, section 3.2; what is not allowed in user and password would end the authority early.
_PROXY: Final = re.compile(
    r"(?:(?P<scheme>https?)://)?"
    r"(?P<login>[^\x00-\x20\x7f/?#\\\[\]]*@)?"
    r"(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE,
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class InvalidProxy(RolesAnywhereError):
    """A variable of the environment names no proxy that can be asked."""

    code = "InvalidProxy"


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where to connect to: ``url`` may hold a password, ``address`` is host and port alone."""

    url: str = field(repr=False)
    address: str

    @property
    def host(self) -> str:
        """Its name or address, without brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Its TCP port."""
        return int(self.address.rpartition(":")[2])

    @property
    def is_tls(self) -> bool:
        """Whether the proxy itself is spoken to over TLS."""
        return self.url.lower().startswith("https:")

    @property
    def authorization(self) -> str | None:
        """What it wants in ``Proxy-Authorization`` (RFC 7617); None where there is no login."""
        parts = urlsplit(self.url)
        if parts.username is None:
            return None
        login = b":".join(map(_unquoted, (parts.username, parts.password or "")))
        return f"Basic {base64.b64encode(login).decode()}"


def _unquoted(text: str) -> bytes:
    """The bytes that percent-encoding means, and those of an environment that is not UTF-8."""
    return unquote_to_bytes(text.encode(errors="surrogateescape"))


def proxy_for(url: str, env: Mapping[str, str]) -> Proxy | None:
    """The proxy, or None: ``https_proxy`` (or upper case), but for ``no_proxy``.

    Loopback is never asked of a proxy, whatever the environment says. Raises `InvalidProxy`.
    """
    target = urlsplit(url)
    host = target.hostname or ""
    variable = _variable(f"{target.scheme}_proxy", env) or _variable("all_proxy", env)
    if variable is None or is_loopback(host):
        return None
    exceptions = env.get(_variable("no_proxy", env) or "", "").replace(",", " ").split()
    if any(_covers(exception, host, target.port or 443) for exception in exceptions):
        return None
    return _proxy(env[variable], variable=variable)


def _variable(name: str, env: Mapping[str, str]) -> str | None:
    """Which spelling of ``name`` is set and not empty. Lower case wins, as in curl."""
    return next((spelt for spelt in (name, name.upper()) if env.get(spelt)), None)


def _proxy(value: str, *, variable: str) -> Proxy:
    shape = _PROXY.fullmatch(value)
    if shape is None or not _is_meant(shape):
        raise InvalidProxy(
            f"{variable} is not the URL of an HTTP proxy, expected"
            " http://[user:password@]host[:port]",
            hint="write special characters of user and password in percent-encoding, such as %2F"
            " for a slash; other kinds of proxies are not spoken",
        )
    return Proxy(
        url=value if shape["scheme"] else f"http://{value}",
        address=f"{shape['host']}:{_port(shape)}",
    )


def _is_meant(shape: re.Match[str]) -> bool:
    # A word with neither scheme nor port may be anything, such as another key of the proxy's
    # Secret: what is no proxy would be shown as one, and asked of DNS.
    is_told = shape["scheme"] is not None or shape["port"] is not None
    return is_told and is_host(shape["host"]) and 0 < _port(shape) < 65_536


def _port(shape: re.Match[str]) -> int:
    return int(shape["port"] or _DEFAULT_PORTS[shape["scheme"].lower()])


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
