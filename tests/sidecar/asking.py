"""Requests as a test writes them."""

from rolesanywhere_sidecar.serving.exchange import Ask, Headers


def an_ask(
    target: str, *, method: str = "GET", host: str = "127.0.0.1:9911", **headers: str
) -> Ask:
    """A request as an SDK sends it, with more ``headers``."""
    return Ask(method, target, Headers({"Host": host, **headers}.items()))
