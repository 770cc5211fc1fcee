"""What cert-manager has had issued, as its requests tell it."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from rolesanywhere_operator.controller.requests import Requests, read
from rolesanywhere_operator.domain.conditions import Reason
from rolesanywhere_operator.domain.issuance import Leaf, Obstacle
from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import Forbidden, KubeError, NotFound
from tests.fakes import pki
from tests.fakes.pki import Authority, KeyKind

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = ("team-a", "reports")
REQUEST = "/apis/cert-manager.io/v1/namespaces/team-a/certificaterequests/rolesanywhere-reports-3"


def a_chain(kind: KeyKind = "p256", *, serial: int = 2**80) -> str:
    """As a CertificateRequest's status holds it: the leaf and its authority."""
    root = Authority.root(at=NOON)
    subject = pki.named("reports", organization_name="Example, Inc.")
    template = replace(pki.LEAF, subject=subject, serial=serial, lives=timedelta(days=1))
    leaf = root.leaf(at=NOON, kind=kind, template=template)
    pem = b"".join(one.certificate.public_bytes(Encoding.PEM) for one in (leaf, root))
    return base64.b64encode(pem).decode()


def a_certificate(*, uid: str = "cert-1", **status: Any) -> Json:
    metadata = {"namespace": "team-a", "name": "rolesanywhere-reports", "uid": uid}
    return {"metadata": metadata, "status": status}


def a_request(chain: str, *, owner: str = "cert-1") -> Json:
    reference = {"kind": "Certificate", "uid": owner, "controller": True}
    return {"metadata": {"ownerReferences": [reference]}, "status": {"certificate": chain}}


class Api:
    """One request, and a count of who asked for it."""

    def __init__(self, held: Json | KubeError) -> None:
        self.held = held
        self.asked: list[str] = []

    async def get(self, path: str, *, query: Mapping[str, str] | None = None) -> Json:
        assert query is None
        self.asked.append(path)
        if isinstance(self.held, KubeError):
            raise self.held
        return self.held


@pytest.mark.parametrize(("kind", "algorithm"), [("p256", "ECDSA"), ("rsa-2048", "RSA")])
def test_a_chain_is_told_by_its_leaf(kind: KeyKind, algorithm: str) -> None:
    assert read(a_chain(kind)) == Leaf(
        subject="CN=reports,O=Example\\, Inc.",
        # Decimal, as CloudTrail and read-certificate-data have it.
        serial_number=str(2**80),
        not_after="2026-03-02T11:00:00Z",
        algorithm=algorithm,
    )


@pytest.mark.parametrize("garbage", ["", "!", "Zm9v", base64.b64encode(b"\xff" * 64).decode()])
def test_what_is_no_certificate_is_not_known(garbage: str) -> None:
    assert read(garbage) is None


async def test_each_certificate_is_asked_for_once() -> None:
    api = Api(a_request(a_chain(serial=7)))
    requests = Requests(api)
    for _ in range(3):
        leaf = await requests.leaf(KEY, a_certificate(revision=3))
        assert leaf is not None
        assert leaf.serial_number == "7"
    assert api.asked == [REQUEST]
    await requests.leaf(KEY, a_certificate(revision=4))
    assert api.asked[1:] == [REQUEST.replace("-3", "-4")]
    await requests.leaf(KEY, a_certificate(revision=4, uid="cert-2"))
    assert len(api.asked) == 3


async def test_a_request_of_another_certificate_is_not_believed() -> None:
    api = Api(a_request(a_chain(), owner="somebody-elses"))
    assert await Requests(api).leaf(KEY, a_certificate(revision=3)) is None


@pytest.mark.parametrize(
    "issued", [None, a_certificate(), Obstacle(Reason.CERTIFICATE_REFUSED, "no")]
)
async def test_where_nothing_was_issued_nothing_is_asked(issued: Any) -> None:
    api = Api(a_request(a_chain()))
    assert await Requests(api).leaf(KEY, issued) is None
    assert api.asked == []


@pytest.mark.parametrize(
    ("problem", "calls"), [(NotFound("gone", status=404), 1), (Forbidden("no", status=403), 2)]
)
async def test_a_request_that_cannot_be_had_fails_nothing(problem: KubeError, calls: int) -> None:
    api = Api(problem)
    requests = Requests(api)
    assert await requests.leaf(KEY, a_certificate(revision=3)) is None
    assert await requests.leaf(KEY, a_certificate(revision=3)) is None
    assert len(api.asked) == calls


async def test_a_binding_that_is_gone_is_forgotten() -> None:
    api = Api(a_request(a_chain()))
    requests = Requests(api)
    await requests.leaf(KEY, a_certificate(revision=3))
    requests.forget(KEY)
    await requests.leaf(KEY, a_certificate(revision=3))
    assert len(api.asked) == 2
