"""Admission without an API server: the webhook's own server, asked the way an API server would.

The bindings come from a dictionary instead of a watch; server, TLS, review and decision are the
real ones.
"""

import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from rolesanywhere_operator.webhook import reviews, server
from rolesanywhere_operator.webhook.admission import Admission
from rolesanywhere_operator.webhook.catalog import Entry, entry
from rolesanywhere_operator.webhook.tls import ServingCertificate

Json = dict[str, Any]

SIDECAR_IMAGE: Final = "example.com/rolesanywhere-sidecar:0.1.0"


class FixedCatalog:
    """The bindings of one namespace, known beforehand."""

    def __init__(self, binding: Json) -> None:
        metadata = binding["metadata"]
        self._by_namespace = {metadata["namespace"]: {metadata["name"]: entry(binding)}}

    def at_hand(self, namespace: str) -> Mapping[str, Entry]:
        return self._by_namespace.get(namespace, {})

    async def asked(self, namespace: str) -> Mapping[str, Entry]:
        return self.at_hand(namespace)


@asynccontextmanager
async def webhook(binding: Json, certificate: Path, private_key: Path) -> AsyncIterator[str]:
    """The webhook's URL, for as long as the block lasts."""
    serving = ServingCertificate(certificate, private_key)
    serving.refresh()
    admission = Admission(FixedCatalog(binding), sidecar_image=SIDECAR_IMAGE)
    runner = web.AppRunner(server.reviewer(admission), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=serving.front).start()
        yield f"https://127.0.0.1:{runner.addresses[0][1]}{server.INJECT_PATH}"
    finally:
        await runner.cleanup()


def review_of(pod: Json) -> Json:
    """What an API server sends when ``pod`` is to be created."""
    pods = {"group": "", "version": "v1", "resource": "pods"}
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": pods,
        "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
        "requestResource": pods,
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


async def ask(url: str, review: Json, *, ca_file: Path) -> Json:
    """The ``response`` of the AdmissionReview that comes back."""
    context = ssl.create_default_context(cafile=str(ca_file))
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=review, ssl=context) as answer,
    ):
        answer.raise_for_status()
        response: Json = (await answer.json())["response"]
        return response


def patch_in(response: Json) -> list[Json]:
    """The JSON patch (RFC 6902) of a response."""
    operations: list[Json] = json.loads(base64.b64decode(response["patch"]))
    return operations
