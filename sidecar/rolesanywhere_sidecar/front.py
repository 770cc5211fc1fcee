"""The loopback port's front door: who is turned away, and which endpoint the others reach.

Never looks at credentials or tokens.
"""

import logging
from http import HTTPStatus

from rolesanywhere_contract.names import CREDENTIALS_PATH
from rolesanywhere_sidecar.endpoint import ContainerEndpoint
from rolesanywhere_sidecar.exchange import Ask, Reply, path_of
from rolesanywhere_sidecar.guards import allowed_hosts, objection, refusal
from rolesanywhere_sidecar.imds import Imds

log = logging.getLogger(__name__)


class FrontDoor:
    """Answers for a listener on ``port``; ``imds`` is none where the settings switch it off."""

    def __init__(self, *, port: int, container: ContainerEndpoint, imds: Imds | None) -> None:
        self._hosts = allowed_hosts(port)
        self._container = container
        self._imds = imds
        self._reported: set[str] = set()

    def answer(self, ask: Ask) -> Reply:
        """What the endpoint behind ``ask``'s path says, if the request may come in at all."""
        if reason := objection(ask, hosts=self._hosts):
            self._report(reason)
            return refusal(ask)
        if ask.path == path_of(CREDENTIALS_PATH):
            return self._container.answer(ask)
        if self._imds is not None and self._imds.serves(ask):
            return self._imds.answer(ask)
        # Empty: AWS's C runtime would take a text for a role's name.
        return Reply(HTTPStatus.NOT_FOUND)

    def _report(self, reason: str) -> None:
        """Each reason once: whoever is turned away must not be able to fill the log."""
        if reason not in self._reported:
            self._reported.add(reason)
            extra = {"problem": reason, "note": "more of this kind are not logged"}
            log.warning("request turned away", extra=extra)
