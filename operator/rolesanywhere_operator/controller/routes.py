"""The whole map: which event reaches which function, and how kopf is set up.

Handlers translate and decide nothing. Everything is built by call, so that importing this module
registers nothing.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import kopf

from rolesanywhere_contract.names import GROUP, PLURAL, VERSION
from rolesanywhere_operator.controller.pulse import WATCH_SECONDS

# Objects a page when listing: memory against requests; what client-go's pager asks for.
_CHUNK: Final = 500


class Watcher(Protocol):
    """Who is told of bindings, each as the API server holds it."""

    def saw(self, body: dict[str, Any]) -> None:
        """A binding is there, and as ``body`` says."""
        ...

    def lost(self, body: dict[str, Any]) -> None:
        """A binding is gone."""
        ...


def registry(
    *, login: Callable[[], Awaitable[kopf.AiohttpSession]], watcher: Watcher
) -> kopf.OperatorRegistry:
    """Every route of the controller: what kopf sees of bindings is told to ``watcher``."""

    async def log_in(**_: object) -> kopf.AiohttpSession:
        return await login()

    async def binding_seen(event: kopf.RawEvent, **_: object) -> None:
        told = watcher.lost if event["type"] == "DELETED" else watcher.saw
        told(dict(event["object"]))

    routes = kopf.OperatorRegistry()
    kopf.on.login(registry=routes, id="login")(log_in)
    # Named in full: a bare plural makes kopf ask every API group there is, and die of a sick one.
    # Of events, not of creations and updates: kopf would keep notes on these in each binding, and a
    # finalizer for deletions, and a Certificate's change is none of them. So it writes nothing.
    kopf.on.event(group=GROUP, version=VERSION, plural=PLURAL, registry=routes, id="binding")(
        binding_seen
    )
    return routes


def settings() -> kopf.OperatorSettings:
    """kopf as this controller needs it."""
    chosen = kopf.OperatorSettings()
    # The Lease sees to it that there is one of us; kopf's peering is told apart by clocks.
    chosen.peering.standalone = True
    # Watching CRDs and namespaces would take permissions that nothing else needs.
    chosen.scanning.disabled = True
    chosen.watching.chunk_size = _CHUNK
    chosen.watching.connect_timeout = 5
    # By beginning anew it shows that it lives.
    chosen.watching.server_timeout = WATCH_SECONDS
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 5
    chosen.posting.enabled = False
    # Below the pod's terminationGracePeriodSeconds.
    chosen.process.ultimate_exiting_timeout = 25
    return chosen


def quieten_logs() -> None:
    """Of kopf's records, the warnings, and without the objects it hangs on each of them."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf.objects").addFilter(_without_ballast)


def _without_ballast(record: logging.LogRecord) -> bool:
    for name in ("settings", "k8s_skip"):
        vars(record).pop(name, None)
    return True
