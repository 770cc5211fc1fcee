"""A signer of pod certificates, as somebody who runs one would write it.

It takes every request for its name, without asking whether the pod may have it, and issues the
shortest life that the API server allows.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from tests.e2e.harness.cluster import Cluster
from tests.fakes.pki import LEAF, Authority, HasPublicKey, issue, named

KIND: Final = "podcertificaterequests.certificates.k8s.io"
LIVES: Final = timedelta(hours=1)
POLL_SECONDS: Final = 0.5

Manifest = dict[str, Any]


class _Asked:
    """The public half of a key whose private half the kubelet keeps."""

    def __init__(self, request: Manifest) -> None:
        spec = request["spec"]
        if csr := spec.get("stubPKCS10Request"):
            self._key: Any = x509.load_der_x509_csr(base64.b64decode(csr)).public_key()
        else:
            self._key = load_der_public_key(base64.b64decode(spec["pkixPublicKey"]))

    def public_key(self) -> Any:
        return self._key


@contextmanager
def signing(cluster: Cluster, name: str, authority: Authority) -> Iterator[None]:
    """Sign what is asked of signer ``name`` for the length of the block: ``CN=POD.NAMESPACE``."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(POLL_SECONDS):
            for request in cluster.kubectl.get(KIND, "--all-namespaces")["items"]:
                if request["spec"]["signerName"] == name and not request.get("status"):
                    _answer(cluster, request, authority)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def answer(request: Manifest, authority: Authority, *, at: datetime) -> Manifest:
    """The status of a request that is granted."""
    asked: HasPublicKey = _Asked(request)
    template = replace(LEAF, starts=timedelta(0), lives=LIVES)
    subject = named(f"{request['spec']['podName']}.{request['metadata']['namespace']}")
    leaf = issue(
        template, subject, asked,
        issuer=authority.certificate.subject, signer=authority.key, at=at,
    )  # fmt: skip
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    return {
        "conditions": [
            {
                "type": "Issued", "status": "True", "reason": "Signed",
                "message": "signed by a test", "lastTransitionTime": _text(at),
            }
        ],
        "certificateChain": leaf.public_bytes(Encoding.PEM).decode(),
        "notBefore": _text(start),
        "beginRefreshAt": _text(start + LIVES / 2),
        "notAfter": _text(end),
    }  # fmt: skip


def _answer(cluster: Cluster, request: Manifest, authority: Authority) -> None:
    status = answer(request, authority, at=datetime.now(UTC))
    meta = request["metadata"]
    cluster.kubectl(
        "patch", KIND, meta["name"], f"--namespace={meta['namespace']}", "--type=merge",
        "--subresource=status", f"--patch={json.dumps({'status': status})}",
    )  # fmt: skip


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
