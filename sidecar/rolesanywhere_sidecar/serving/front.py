"""The loopback port's front door: who is turned away, and which endpoint the others reach.

Never looks at credentials or tokens.
"""

import logging
from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from rolesanywhere_contract.names import CREDENTIALS_PATH
from rolesanywhere_sidecar.serving.endpoint import ContainerEndpoint
from rolesanywhere_sidecar.serving.exchange import Ask, Reply, path_of
from rolesanywhere_sidecar.serving.guards import allowed_hosts, objection, refusal
from rolesanywhere_sidecar.serving.imds import Imds, is_token_path

log = logging.getLogger(__name__)

_CONTAINER_PATH: Final = path_of(CREDENTIALS_PATH)


class Endpoint(StrEnum):
    """Who answered, as metrics name it; these few words, whatever is asked."""

    CONTAINER = "container"
    IMDS_TOKEN = "imds-token"  # noqa: S105 - a word for a metric
    IMDS = "imds"
    REFUSED = "refused"  # turned away at the door
    UNKNOWN = "unknown"  # no endpoint has this path


Observe = Callable[[str, int], None]


def _unobserved(endpoint: str, status: int) -> None:
    pass


class FrontDoor:
    """Answers for a listener on ``port``; ``imds`` is none where the settings switch it off.

    ``observe`` is told of each answer: its `Endpoint` and its status.
    """

    def __init__(
        self,
        *,
        port: int,
        container: ContainerEndpoint,
        imds: Imds | None,
        observe: Observe = _unobserved,
    ) -> None:
        self._hosts = allowed_hosts(port)
        self._container = container
        self._imds = imds
        self._observe = observe
        self._reported: set[str] = set()

    def answer(self, ask: Ask) -> Reply:
        """What the endpoint behind ``ask``'s path says, if the request may come in at all."""
        endpoint, reply = self._answered(ask)
        self._observe(endpoint, reply.status)
        return reply

    def _answered(self, ask: Ask) -> tuple[Endpoint, Reply]:
        if reason := objection(ask, hosts=self._hosts):
            self._report(reason)
            return Endpoint.REFUSED, refusal(ask)
        if ask.path == _CONTAINER_PATH:
            return Endpoint.CONTAINER, self._container.answer(ask)
        if self._imds is not None and self._imds.serves(ask):
            endpoint = Endpoint.IMDS_TOKEN if is_token_path(ask.path) else Endpoint.IMDS
            return endpoint, self._imds.answer(ask)
        # Empty: AWS's C runtime would take a text for a role's name.
        return Endpoint.UNKNOWN, Reply(HTTPStatus.NOT_FOUND)

    def _report(self, reason: str) -> None:
        """Each reason once: whoever is turned away must not be able to fill the log."""
        if reason not in self._reported:
            self._reported.add(reason)
            extra = {"problem": reason, "note": "more of this kind are not logged"}
            log.warning("request turned away", extra=extra)
