"""The webhook asked without an API server: its own server, TLS and decisions, called as one calls.

The bindings come from a dictionary instead of a watch; nothing else differs.
"""

import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from rolesanywhere_operator.domain import bindings
from rolesanywhere_operator.domain.bindings import Entry
from rolesanywhere_operator.domain.sidecardefaults import SidecarDefaults
from rolesanywhere_operator.listeners import listening
from rolesanywhere_operator.webhook import reviews, server
from rolesanywhere_operator.webhook.admission import Admission
from rolesanywhere_operator.webhook.server import INJECT_PATH
from rolesanywhere_operator.webhook.tls import ServingCertificate

Json = dict[str, Any]


class Pair(Protocol):
    """A serving certificate and its key, in PEM."""

    @property
    def certificate(self) -> bytes: ...

    @property
    def private_key(self) -> bytes: ...


class FixedCatalog:
    """One binding, known beforehand."""

    def __init__(self, binding: Json) -> None:
        metadata = binding["metadata"]
        self._by_namespace = {metadata["namespace"]: {metadata["name"]: bindings.read(binding)}}

    def at_hand(self, namespace: str) -> Mapping[str, Entry]:
        return self._by_namespace.get(namespace, {})

    async def asked(self, namespace: str) -> Mapping[str, Entry]:
        return self.at_hand(namespace)


@asynccontextmanager
async def webhook(
    binding: Json, pair: Pair, *, folder: Path, sidecar_image: str
) -> AsyncIterator[str]:
    """The webhook's URL, for as long as the block lasts; ``pair`` goes into files of ``folder``."""
    certificate, private_key = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(pair.certificate)
    private_key.write_bytes(pair.private_key)
    serving = ServingCertificate(certificate, private_key)
    serving.refresh()
    admission = Admission(FixedCatalog(binding), SidecarDefaults(image=sidecar_image))
    site = server.reviewer(admission)
    async with listening(
        site, name="reviews", address="127.0.0.1", port=0, tls=serving.front
    ) as port:
        yield f"https://127.0.0.1:{port}{INJECT_PATH}"


async def ask(url: str, pod: Json, *, authority: bytes) -> list[Json]:
    """The JSON patch (RFC 6902) that the webhook at ``url`` answers with for ``pod``."""
    context = ssl.create_default_context(cadata=authority.decode())
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=_review_of(pod), ssl=context) as answer,
    ):
        answer.raise_for_status()
        response = (await answer.json())["response"]
    operations: list[Json] = json.loads(base64.b64decode(response["patch"]))
    return operations


def _review_of(pod: Json) -> Json:
    """What an API server sends when ``pod`` is to be created."""
    resource = {"group": "", "version": "v1", "resource": "pods"}
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "name": pod["metadata"]["name"],
        "namespace": pod["metadata"]["namespace"],
        "operation": "CREATE",
        "userInfo": {"username": "demo"},
        "object": pod,
        "oldObject": None,
        "dryRun": False,
        "options": None,
    }
    return {"apiVersion": reviews.API_VERSION, "kind": "AdmissionReview", "request": request}
