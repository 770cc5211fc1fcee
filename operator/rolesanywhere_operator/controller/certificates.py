"""The Certificates that we ask cert-manager for: applied, and taken back.

Never reads a Secret, and never writes to a Certificate that is not ours.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, Protocol

from rolesanywhere_contract.names import BINDING_LABEL
from rolesanywhere_operator.controller import following
from rolesanywhere_operator.controller.following import API, PatientSource
from rolesanywhere_operator.controller.rounds import Key
from rolesanywhere_operator.domain import certificates
from rolesanywhere_operator.domain.certificates import FIELD_MANAGER
from rolesanywhere_operator.domain.conditions import Reason
from rolesanywhere_operator.domain.issuance import Issuance, Obstacle
from rolesanywhere_operator.domain.untyped import mapping
from rolesanywhere_operator.kube.client import APPLY_PATCH, Json
from rolesanywhere_operator.kube.errors import Conflict, KubeError, NotFound
from rolesanywhere_operator.kube.reflector import Chance, Reflector

log = logging.getLogger(__name__)

# Validation, and the word of an admission webhook or policy.
_REFUSALS: Final = (400, 403, 422)


class Client(following.Client, Protocol):
    """What is needed of the API client."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = ...,
    ) -> Json:
        """The JSON that the server answers."""
        ...


class Certificates:
    """The Certificates that carry our label. ``changed`` is told whose has changed, None for any.

    Until `synced`, nothing is known of them.
    """

    def __init__(
        self, kube: Client, *, chance: Chance, changed: Callable[[Key | None], None]
    ) -> None:
        self._kube = kube
        self._changed = changed
        # What we have applied and the watch has not shown yet: a look meanwhile needs no answer
        # from the API server that we have had already.
        self._applied: dict[Key, Json] = {}
        self._source = PatientSource(kube, chance, self._seen)
        self._held: Reflector[Json] = Reflector(
            self._source, f"{API}/certificates", read=lambda item: item, chance=chance
        )

    @property
    def synced(self) -> bool:
        """Whether it is known what there is, or why nothing can be."""
        return self._held.synced or self._source.obstacle is not None

    async def run(self) -> NoReturn:
        """Follow them for ever."""
        await self._held.run()

    def would_make(self, asked: Json) -> bool:
        """Whether `ensure` would have to make it, as far as is known."""
        return self._source.obstacle is None and self._find(asked) is None

    async def ensure(self, asked: Json, *, uid: str) -> Issuance:
        """The Certificate ``asked`` of the binding with ``uid``, applied where it is another.

        Raises `KubeError` when it is worth another try.
        """
        if self._source.obstacle is not None:
            return self._source.obstacle
        found = self._find(asked) or await self._read(asked)
        if found is None:
            return await self._apply(asked)
        if not certificates.is_ours(found, uid=uid):
            return _taken(found, asked)
        if certificates.is_as_asked(found, asked):
            return found
        return await self._apply(asked, over=found)

    async def remove(self, key: Key, *, uid: str, but: str | None) -> None:
        """Delete what the binding ``key`` with ``uid`` has asked for, but the one named ``but``.

        Raises `KubeError` when it is worth another try.
        """
        namespace, binding = key
        for name, found in self._held.of(namespace).items():
            labels = mapping(found["metadata"].get("labels"))
            if labels.get(BINDING_LABEL) != binding or name == but:
                continue
            if certificates.is_ours(found, uid=uid):
                await self._delete(found)

    def _seen(self, certificate: Mapping[str, Any] | None) -> None:
        """``certificate`` has changed, None for any."""
        if certificate is None:
            self._applied.clear()
            self._changed(None)
            return
        metadata = mapping(certificate.get("metadata"))
        namespace = str(metadata.get("namespace"))
        self._applied.pop((namespace, str(metadata.get("name"))), None)
        binding = mapping(metadata.get("labels")).get(BINDING_LABEL)
        if binding is not None:
            self._changed((namespace, str(binding)))

    def _find(self, asked: Json) -> Json | None:
        namespace, name = asked["metadata"]["namespace"], asked["metadata"]["name"]
        return self._applied.get((namespace, name)) or self._held.of(namespace).get(name)

    async def _read(self, asked: Json) -> Json | None:
        """One that carries no label of ours, or is newer than what we have seen."""
        try:
            return await self._kube.get(_path(asked))
        except NotFound:
            return None

    async def _apply(self, asked: Json, *, over: Json | None = None) -> Issuance:
        """What becomes of ``over``, or of nothing, when ``asked`` is applied.

        By force only over what is ours, and only over that very one.
        """
        body, query = asked, {"fieldManager": FIELD_MANAGER}
        if over is not None:
            body = {**asked, "metadata": {**asked["metadata"], "uid": over["metadata"]["uid"]}}
            query["force"] = "true"
        try:
            applied = await self._kube.request(
                "PATCH", _path(asked), body=body, query=query, content_type=APPLY_PATCH
            )
        except Conflict:
            if over is not None:
                raise
            return _taken({}, asked)
        except KubeError as problem:
            if problem.status not in _REFUSALS:
                raise
            return Obstacle(Reason.CERTIFICATE_REFUSED, f"the Certificate is refused: {problem}")
        log.info("certificate applied", extra=_fields(applied))
        metadata = applied["metadata"]
        self._applied[metadata["namespace"], metadata["name"]] = applied
        return applied

    async def _delete(self, found: Json) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": found["metadata"]["uid"]},
        }
        try:
            await self._kube.request("DELETE", _path(found), body=body)
        except (NotFound, Conflict):
            # Gone, or replaced by another, which is not ours to delete.
            return
        log.info("certificate deleted", extra=_fields(found))


def _taken(found: Mapping[str, Any], asked: Json) -> Obstacle:
    metadata = asked["metadata"]
    name, binding = metadata["name"], metadata["labels"][BINDING_LABEL]
    if certificates.is_leftover(found, namespace=metadata["namespace"], binding=binding):
        return Obstacle(
            Reason.CERTIFICATE_PENDING,
            f"Certificate {name} is of a deleted binding of the same name; another is asked for"
            " once it is gone.",
        )
    return Obstacle(
        Reason.CERTIFICATE_CONFLICT,
        f"Certificate {name} is there already and is not this binding's, so it is left alone;"
        " delete or rename it, or rename this binding.",
    )


def _path(certificate: Mapping[str, Any]) -> str:
    metadata = certificate["metadata"]
    return f"{API}/namespaces/{metadata['namespace']}/certificates/{metadata['name']}"


def _fields(certificate: Mapping[str, Any]) -> dict[str, str]:
    metadata = certificate["metadata"]
    return {"namespace": metadata["namespace"], "certificate": metadata["name"]}
