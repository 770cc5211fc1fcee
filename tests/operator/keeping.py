"""An API server for the webhook's certificate: one Secret, one configuration, and their versions.

Written from the Kubernetes API concepts page (server-side apply, merge patch, resourceVersion).
It can lose a write, its answer, or let it arrive late.
"""

import copy
from collections.abc import Mapping
from typing import Any, Literal

from rolesanywhere_operator.kube.client import APPLY_PATCH, MERGE_PATCH
from rolesanywhere_operator.kube.errors import Conflict, NotFound, Unavailable

Json = dict[str, Any]
Fate = Literal["arrives", "is lost", "answer is lost", "arrives late"]


class ScriptedObjects:
    """What a `CertificateKeeper` talks to; ``fate`` is that of its next write alone."""

    def __init__(self, *configurations: str, secret: str, webhooks: int = 1) -> None:
        self.fate: Fate = "arrives"
        self.secret_path = secret
        self.held: dict[str, Json] = {}
        self.late: list[tuple[str, Json]] = []
        self.writes: list[str] = []
        self._version = 0
        for path in configurations:
            webhook = {"name": "inject", "clientConfig": {"service": {"name": "webhook"}}}
            self._store(path, {"webhooks": [dict(webhook) for _ in range(webhooks)]})

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        if method == "GET":
            if path not in self.held:
                raise NotFound(f"GET {path}: no such object", status=404)
            return copy.deepcopy(self.held[path])
        assert (method, content_type) == ("PATCH", self._patch_of(path))
        assert body is not None
        fate, self.fate = self.fate, "arrives"
        if fate == "arrives late":
            self.late.append((path, body))
        if fate in {"is lost", "arrives late"}:
            raise Unavailable(f"PATCH {path}: no answer")
        self._write(path, body)
        if fate == "answer is lost":
            raise Unavailable(f"PATCH {path}: no answer")
        return copy.deepcopy(self.held[path])

    def deliver(self) -> None:
        """What is late arrives now, if it still may."""
        for path, body in self.late:
            try:
                self._write(path, body)
            except (Conflict, NotFound):
                continue
        self.late.clear()

    def delete(self, path: str) -> None:
        """As ``kubectl delete``."""
        self.held.pop(path, None)

    def edit(self, path: str, change: Json) -> None:
        """As somebody else's patch of the object's top level."""
        self._store(path, {**self.held[path], **change})

    def _patch_of(self, path: str) -> str:
        return APPLY_PATCH if path == self.secret_path else MERGE_PATCH

    def _write(self, path: str, body: Json) -> None:
        expected = body["metadata"].get("resourceVersion")
        there = self.held.get(path)
        if there is None and (expected or path != self.secret_path):
            raise NotFound(f"PATCH {path}: no such object", status=404)
        if there is not None and expected not in {None, there["metadata"]["resourceVersion"]}:
            raise Conflict(f"PATCH {path}: it has been modified", status=409)
        self.writes.append(path)
        # Apply replaces all that its only owner has; merge replaces lists as a whole.
        fields = {name: value for name, value in body.items() if name != "metadata"}
        self._store(path, fields if path == self.secret_path else {**(there or {}), **fields})

    def _store(self, path: str, fields: Json) -> None:
        self._version += 1
        metadata = {"resourceVersion": str(self._version)}
        self.held[path] = copy.deepcopy({**fields, "metadata": metadata})
