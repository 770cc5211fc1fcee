"""Every permission is needed: what the programs ask a real API server for is what the chart grants.

Both do here all that they ever do. A permission that the chart grants and nobody asks for, or that
is asked for and not granted, tells the two sets apart.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.chart import permissions
from tests.chart.helm import as_yaml, render
from tests.chart.permissions import Permission
from tests.cluster.audit import Request
from tests.cluster.cert_manager import CertManager, crds
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import KubectlFailed
from tests.cluster.programs import Program, running
from tests.operator.builders import IMAGE, a_raw_binding
from tests.support.tools import build_or_skip
from tests.support.waiting import NeverHappened, eventually

ISSUER: Final = {"name": "ca", "kind": "ClusterIssuer"}
# Nobody's pods are to wait for a webhook that no Service leads to.
NOBODYS: Final = {"webhook": {"namespaceSelector": {"matchLabels": {"no-such": "namespace"}}}}


@dataclass(frozen=True)
class Site:
    """A namespace with the chart's accounts, and the programs that run under them."""

    control_plane: ControlPlane
    namespace: str
    accounts: dict[str, str]
    manifests: list[dict[str, Any]]
    folder: Path
    started: ExitStack

    def start(self, component: str, **besides: object) -> Program:
        """A program that was told what the chart tells it."""
        [container] = [
            container
            for manifest in self.manifests
            if manifest["kind"] == "Deployment"
            for container in manifest["spec"]["template"]["spec"]["containers"]
            if container["name"] == component
        ]
        prefix = "ROLESANYWHERE_OPERATOR_"
        settings: dict[str, object] = {
            e["name"].removeprefix(prefix).lower(): e.get("value", self.namespace)
            for e in container["env"]
        }
        return self.started.enter_context(
            running(
                component,
                kubeconfig=self.control_plane.kubeconfig_for(
                    self.accounts[component], self.namespace
                ),
                log=self.folder / f"{component}.log",
                settings={**settings, "probe_port": 0, **besides},
            )
        )

    def bind(self, **identity: Any) -> None:
        binding = a_raw_binding("reports", self.namespace, identity=identity)
        del binding["metadata"]["generation"]
        self.control_plane.kubectl("apply", "--filename=-", input=json.dumps(binding))

    def get(self, what: str) -> Any:
        try:
            return self.control_plane.kubectl.get(what, f"--namespace={self.namespace}")
        except KubectlFailed:
            return None

    def ready(self) -> str:
        conditions = ((self.get("rab/reports") or {}).get("status") or {}).get("conditions") or []
        return next((str(c["reason"]) for c in conditions if c["type"] == "Ready"), "")

    def asked(self, component: str) -> set[Permission]:
        """What RBAC was asked about this account, names left out where any was meant."""
        user = f"system:serviceaccount:{self.namespace}:{self.accounts[component]}"
        return {
            one
            for request in self.control_plane.audit.requests_of(user)
            for one in self._permissions(component, request)
        }

    def _permissions(self, component: str, request: Request) -> Iterator[Permission]:
        name = permissions.anonymous(request.name, self.namespace)
        of_one_name = permissions.NAME in name
        for verb in request.verbs:
            yield Permission(component, verb, request.resource, name if of_one_name else "")

    def refused(self, component: str) -> list[Request]:
        user = f"system:serviceaccount:{self.namespace}:{self.accounts[component]}"
        return [one for one in self.control_plane.audit.requests_of(user) if not one.allowed]

    def waits_for_all(self, component: str) -> None:
        """Until it has asked for all that it may, or will not: the comparison says what it did."""
        with suppress(NeverHappened):
            eventually(
                "it has asked for everything",
                lambda: self.asked(component) >= self.granted(component),
            )

    def granted(self, component: str) -> set[Permission]:
        return {
            one
            for one in permissions.granted(self.manifests, namespace=self.namespace)
            if one.component == component
        }


@pytest.fixture
def site(
    schema: ControlPlane, helm: Path, namespace: str, accounts: dict[str, str], tmp_path: Path
) -> Iterator[Site]:
    manifests = render(helm, namespace=namespace, values=NOBODYS)
    theirs = as_yaml([m for m in manifests if m["kind"] == "MutatingWebhookConfiguration"])
    schema.apply(theirs)
    with ExitStack() as started:
        yield Site(schema, namespace, accounts, manifests, tmp_path, started)
    schema.kubectl("delete", "--filename=-", input=theirs)


@pytest.fixture
def cert_manager(site: Site) -> CertManager:
    installed = CertManager(site.control_plane, site.namespace, build_or_skip(crds))
    installed.install()
    return installed


def test_the_webhook_needs_what_it_is_granted(site: Site) -> None:
    webhook = site.start(
        "webhook", port=0, certificate=site.folder / "tls.crt", private_key=site.folder / "tls.key",
        sidecar_image=IMAGE,
    )  # fmt: skip
    site.waits_for_all("webhook")
    assert site.asked("webhook") == site.granted("webhook")
    assert site.refused("webhook") == []
    assert webhook.popen.poll() is None


def test_the_controller_needs_what_it_is_granted(site: Site, cert_manager: CertManager) -> None:
    controller = site.start("controller", lease_duration_seconds=3)
    eventually("it leads", lambda: controller.lines("leading"))
    # status, Event, Certificate.
    site.bind(certManager={"issuerRef": ISSUER})
    eventually("a Certificate is asked for", cert_manager.certificates)
    eventually("the binding waits", lambda: site.ready() == "CertificatePending")
    cert_manager.issues()
    eventually("the binding is ready", lambda: site.ready() not in ("", "CertificatePending"))
    # Another identity: the Certificate goes.
    site.bind(secret={"name": "mine"})
    eventually("the Certificate is gone", lambda: not cert_manager.certificates())
    site.waits_for_all("controller")
    assert site.asked("controller") == site.granted("controller")
    assert site.refused("controller") == []
    assert any(e["involvedObject"]["name"] == "reports" for e in site.get("events")["items"])
