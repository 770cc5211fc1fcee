"""Every permission is needed: each is taken away once from a program at work, which misses it.

One verb at a time is missing in the chart's own roles, on a real API server, while the program does
what needs it; the API server's audit log must have it refused, that verb and no other. A permission
that nobody asks for is never refused, and one without its scenario here is missed by name.
"""

import asyncio
import http.client
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, closing
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pytest

from tests.chart.helm import as_yaml, render
from tests.chart.permissions import Permission
from tests.cluster.cert_manager import CertManager, crds
from tests.cluster.control_plane import ControlPlane
from tests.cluster.permitted import Release
from tests.cluster.programs import Program
from tests.fakes.line import Line
from tests.operator.builders import IMAGE, a_pod, a_review
from tests.operator.certificates import a_pair
from tests.support.tools import build_or_skip
from tests.support.waiting import eventually

ISSUER: Final = {"name": "ca", "kind": "ClusterIssuer"}
# All that may be granted. Nobody's pods are to wait for a webhook that no Service leads to.
VALUES: Final = {
    "webhook": {"namespaceSelector": {"matchLabels": {"no-such": "namespace"}}},
    "pkcs11": {"hostPaths": ["/opt/vendor"]},
}
# Takes a folder of the node, which Pod Security may forbid.
HARDWARE: Final = {
    "uri": "pkcs11:token=node;object=workload",
    "modulePath": "/opt/vendor/p11.so",
    "hostPaths": ["/opt/vendor"],
}

# It has to live through the while in which it may not renew, on a busy machine too.
LEASE_SECONDS: Final = 30

CONFIGURATIONS: Final = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
BINDINGS: Final = "rolesanywherebindings.rolesanywhere.dev"
LEASES: Final = "leases.coordination.k8s.io"
CERTIFICATES: Final = "certificates.cert-manager.io"

Deed = Callable[[], object]


@pytest.fixture
async def line(schema: ControlPlane) -> AsyncIterator[Line]:
    """The way to the API server, which can be cut."""
    async with Line.to(schema.url) as opened:
        yield opened


@pytest.fixture
async def release(
    schema: ControlPlane,
    line: Line,
    helm: Path,
    namespace: str,
    accounts: dict[str, str],
    tmp_path: Path,
) -> AsyncIterator[Release]:
    """The chart's accounts, and no program yet."""
    manifests = render(helm, namespace=namespace, values=VALUES)
    theirs = as_yaml([m for m in manifests if m["kind"] == "MutatingWebhookConfiguration"])
    schema.apply(theirs)
    with ExitStack() as started:
        yield Release(schema, line.url, namespace, accounts, manifests, tmp_path, started)
    schema.kubectl("delete", "--filename=-", input=theirs)


async def each_is_missed(
    release: Release, component: str, deeds: Mapping[tuple[str, str], Deed], line: Line
) -> None:
    """Take away each of ``deeds``, verb and resource, do what needs it, and see it refused."""
    granted = {(one.verb, one.resource): one for one in release.granted(component)}
    assert deeds.keys() == granted.keys()
    refused: set[Permission] = set()
    for known, deed in deeds.items():
        permission = granted[known]
        await asyncio.to_thread(release.allow_all_but, permission)
        if deed is cut:
            await line.mend()
        else:
            await asyncio.to_thread(deed)
        await asyncio.to_thread(release.until_refused, permission)
        refused.add(permission)
        assert release.asked(component, allowed=False) == refused
    await asyncio.to_thread(release.allow_all_but)


def nothing() -> None:
    """It asks by itself."""


def cut() -> None:
    """Its connections break, so that it lists and watches anew."""


async def test_the_webhook_misses_each_permission(release: Release, line: Line) -> None:
    pair = a_pair("webhook")
    files = {"certificate": pair.certificate, "private_key": pair.private_key}
    for name, content in files.items():
        (release.folder / name).write_bytes(content)
    started: list[Program] = []

    def start() -> None:
        paths = {name: release.folder / name for name in files}
        started.append(release.start("webhook", port=0, sidecar_image=IMAGE, **paths))

    def review() -> None:
        eventually("it is ready", lambda: started[0].is_ready)
        release.bind(pkcs11=HARDWARE)
        port = eventually("it takes reviews", lambda: started[0].port("reviews"))
        trust = ssl.create_default_context(cadata=pair.certificate.decode())
        with closing(http.client.HTTPSConnection("127.0.0.1", port, context=trust)) as caller:
            body = json.dumps(a_review(a_pod(), release.namespace))
            caller.request("POST", "/inject", body, {"Content-Type": "application/json"})
            assert caller.getresponse().status == HTTPStatus.OK

    deeds: dict[tuple[str, str], Deed] = {
        ("list", BINDINGS): start,
        ("watch", BINDINGS): nothing,
        ("get", "namespaces"): review,
    }
    await each_is_missed(release, "webhook", deeds, line)
    used = partial(release.asked, "webhook", allowed=True)
    granted = {*release.granted("webhook")}
    await asyncio.to_thread(review)
    # A watch that was refused is begun anew after a pause.
    await asyncio.to_thread(eventually, "it uses all that it may", lambda: used() >= granted)
    assert used() == granted


async def test_the_controller_misses_each_permission(release: Release, line: Line) -> None:
    cert_manager = CertManager(release.control_plane, release.namespace, build_or_skip(crds))
    await asyncio.to_thread(cert_manager.install)
    issued: dict[str, Any] = {"issuerRef": ISSUER}

    def issue() -> None:
        ask(1004)()
        cert_manager.certificate()
        cert_manager.issues(serial=1)

    def ask(seconds: int) -> Deed:
        return lambda: release.bind(certManager=issued, seconds=seconds)

    deeds: dict[tuple[str, str], Deed] = {
        # Nobody leads: the Lease is read, made, and then kept.
        ("get", LEASES): lambda: release.start("controller", lease_duration_seconds=LEASE_SECONDS),
        ("create", LEASES): nothing,
        ("update", LEASES): nothing,
        # Who leads looks every few seconds whether the webhook has its certificate, and it has not.
        ("get", "secrets"): nothing,
        ("patch", "secrets"): nothing,
        ("create", "secrets"): nothing,
        ("get", CONFIGURATIONS): nothing,
        ("patch", CONFIGURATIONS): nothing,
        ("list", BINDINGS): cut,
        ("watch", BINDINGS): cut,
        ("list", CERTIFICATES): cut,
        ("watch", CERTIFICATES): cut,
        ("list", "pods"): cut,
        ("watch", "pods"): cut,
        ("patch", f"{BINDINGS}/status"): lambda: release.bind(secret={"name": "mine"}),
        ("create", "events"): lambda: release.bind(csi={"driver": "no.such.driver"}),
        ("get", "namespaces"): lambda: release.bind(pkcs11=HARDWARE),
        ("get", "csidrivers.storage.k8s.io"): lambda: release.bind(csi={"driver": "neither.this"}),
        ("get", BINDINGS): ask(1000),
        ("get", CERTIFICATES): ask(1001),
        ("patch", CERTIFICATES): ask(1002),
        ("create", CERTIFICATES): ask(1003),
        ("get", "certificaterequests.cert-manager.io"): issue,
        ("delete", CERTIFICATES): lambda: release.bind(secret={"name": "mine"}),
    }
    await each_is_missed(release, "controller", deeds, line)
    # Nothing was lost by it: given all again, it makes up for what it could not do.
    await asyncio.to_thread(
        eventually, "the Certificate is gone", lambda: not cert_manager.certificates()
    )
    await asyncio.to_thread(eventually, "it is judged", lambda: release.ready() == "Accepted")
