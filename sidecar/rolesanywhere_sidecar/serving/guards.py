"""Turns away what no SDK sends: requests that came through a browser, a proxy or a foreign name.

A page in a browser may rebind its own name to 127.0.0.1, and an application may be talked into
fetching a URL: neither can forge these headers away. Never looks at paths or credentials.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from rolesanywhere_sidecar.serving.exchange import READING, Ask, Reply

# Who adds these is not an SDK on this pod's loopback.
FOREIGN_HEADERS: Final = ("Origin", "Sec-Fetch-Site", "X-Forwarded-For", "Forwarded", "Via")

# AWS's C runtime leaves the port out, and the brackets too; everybody else sends both.
LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


def allowed_hosts(port: int) -> frozenset[str]:
    """The values of ``Host`` under which a listener on ``port`` may be called."""
    names = {f"{name}{suffix}" for name in LOOPBACK_NAMES for suffix in ("", f":{port}")}
    return frozenset(names | {"::1"})


def objection(ask: Ask, *, hosts: frozenset[str]) -> str | None:
    """Why ``ask`` is turned away, in a few constant words; none if it is not."""
    if not ask.target.startswith("/"):
        return "the target is not a path"
    if ask.headers.get("Host", "").lower() not in hosts:
        return "the Host header is not a loopback name"
    for name in FOREIGN_HEADERS:
        if name in ask.headers:
            return f"the {name} header is present"
    if _has_body(ask.headers):
        return "the request has a body"
    return None


def refusal(ask: Ask) -> Reply:
    """Empty, and 401 to whoever reads: AWS's C runtime aborts its process on any other error."""
    return Reply(HTTPStatus.UNAUTHORIZED if ask.method in READING else HTTPStatus.FORBIDDEN)


def _has_body(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers
