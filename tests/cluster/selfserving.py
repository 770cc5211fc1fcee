"""A release whose webhook gets its certificate from the controller, at work.

The programs run here under the chart's accounts and permissions; a relay plays the Service, and a
thread the kubelets that follow the Secret.
"""

import base64
import http.client
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.chart.helm import FULLNAME, as_yaml, render
from tests.cluster import authorization, programs
from tests.cluster.control_plane import ControlPlane
from tests.cluster.controllers import LEASE, LEASE_SECONDS
from tests.cluster.kubectl import KubectlFailed
from tests.cluster.programs import Program
from tests.cluster.relay import Relay, Volume, relaying, repeated
from tests.operator.builders import IMAGE, a_pod

SELF: Final[dict[str, Any]] = {"webhook": {"certificate": {"source": "self"}}}
SECRET: Final = f"{FULLNAME}-webhook-tls"
_MOUNTED: Final[tuple[str, ...]] = ("tls.crt", "tls.key")
_TEMPLATES: Final = ("webhook/rbac.yaml", "controller/rbac.yaml", "webhook/admission.yaml")
# As the chart calls the port that reviews come to, in the pods of each half of the webhooks.
HALVES: Final = ("https-first", "https-second")


@dataclass(frozen=True)
class SelfServing:
    """The release in ``namespace``, with ``relay`` as its Service."""

    control_plane: ControlPlane
    namespace: str
    folder: Path
    relay: Relay
    volumes: tuple[Volume, ...]
    started: ExitStack
    numbers: Iterator[int]

    @property
    def configuration(self) -> str:
        """The name of its webhook configuration."""
        return f"{self.namespace}-{FULLNAME}"

    def controller(self) -> Program:
        """A controller that keeps the certificate."""
        settings = {
            "namespace": self.namespace,
            "lease_name": LEASE,
            "lease_duration_seconds": LEASE_SECONDS,
            "webhook_secret": SECRET,
            "webhook_configuration": self.configuration,
            "webhook_hosts": "127.0.0.1",
        }
        return self._start("controller", settings)

    def webhook(self, half: int) -> Program:
        """A replica of that half, with a volume of its own; it gets reviews once it is ready."""
        folder = self.volumes[half].folder
        settings = {
            "port": 0,
            "sidecar_image": IMAGE,
            "certificate": folder / "tls.crt",
            "private_key": folder / "tls.key",
        }
        program = self._start("webhook", settings)
        self.relay.backends[program] = HALVES[half]
        return program

    def secret(self) -> dict[str, str]:
        """The texts of the Secret; empty while there is none."""
        here = f"--namespace={self.namespace}"
        try:
            data = self.control_plane.kubectl.get("secret", SECRET, here).get("data") or {}
        except KubectlFailed:
            return {}
        return {name: base64.b64decode(text).decode() for name, text in data.items()}

    def bundle(self) -> str:
        """What the API server trusts, at every attempt; empty while they differ."""
        found = self.control_plane.kubectl.get("mutatingwebhookconfiguration", self.configuration)
        bundles = {one["clientConfig"].get("caBundle", "") for one in found["webhooks"]}
        return base64.b64decode(bundles.pop()).decode() if len(bundles) == 1 else ""

    def mount(self) -> None:
        """Have the volumes show what the Secret holds of the leaf, as their kubelets would."""
        held = self.secret()
        files: dict[str, bytes] = {name: held[name].encode() for name in _MOUNTED if name in held}
        if files:
            for volume in self.volumes:
                volume.hold(files)

    def _start(self, program: str, settings: dict[str, object]) -> Program:
        account = self.control_plane.kubeconfig_for(f"{FULLNAME}-{program}", self.namespace)
        log = self.folder / f"{program}-{next(self.numbers)}.log"
        return self.started.enter_context(
            programs.running(program, kubeconfig=account, log=log, settings=settings)
        )


@contextmanager
def self_serving(
    control_plane: ControlPlane, helm: Path, *, namespace: str, folder: Path
) -> Iterator[SelfServing]:
    """The chart's objects for it in ``namespace``, and none of its programs yet."""
    [service] = render(helm, namespace=namespace, values=SELF, only=["webhook/service.yaml"])
    targets = {one["port"]: one["targetPort"] for one in service["spec"]["ports"]}
    with relaying(targets) as relay, ExitStack() as started:
        manifests = render(helm, namespace=namespace, values=SELF, only=_TEMPLATES)
        for manifest in manifests:
            for webhook in manifest.get("webhooks", ()):
                there = webhook["clientConfig"].pop("service")
                here = f"https://127.0.0.1:{relay.ports[there['port']]}{there['path']}"
                webhook["clientConfig"]["url"] = here
        text = as_yaml(manifests)
        control_plane.apply(text, namespace=namespace)
        roles = [one for one in manifests if one["kind"] in ("Role", "ClusterRole")]
        authorization.take_effect(control_plane, roles, namespace=namespace)
        volumes = (Volume(folder / "first"), Volume(folder / "second"))
        release = SelfServing(control_plane, namespace, folder, relay, volumes, started, count())
        try:
            with repeated(release.mount, 1.0):
                yield release
        finally:
            control_plane.kubectl(
                "delete",
                "--filename=-",
                f"--namespace={namespace}",
                "--wait=false",
                "--ignore-not-found",
                input=text,
            )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to create a pod: when it was sent and answered, and what came of it."""

    sent: float
    answered: float
    status: int
    answer: dict[str, Any]

    @property
    def is_injected(self) -> bool:
        """Whether the pod that came of it has its sidecar."""
        containers = self.answer.get("spec", {}).get("initContainers", ())
        return any(one["name"] == "rolesanywhere-sidecar" for one in containers)


class Creator:
    """Creates pods one after another; one that is refused is tried again, as controllers do."""

    def __init__(self, control_plane: ControlPlane, namespace: str, *, name: str) -> None:
        user = json.loads(control_plane.admin_kubeconfig.read_text())["users"][0]["user"]
        self._headers = {
            "Authorization": f"Bearer {user['token']}",
            "Content-Type": "application/json",
        }
        self._where = urlsplit(control_plane.url)
        self._tls = ssl.create_default_context(cafile=str(control_plane.ca_file))
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._names = (f"{name}-{number}" for number in count())
        self._next = next(self._names)
        self.attempts: list[Attempt] = []

    def create(self) -> None:
        """One more attempt."""
        pod = a_pod()
        pod["metadata"]["name"] = self._next
        sent = time.monotonic()
        connection = http.client.HTTPSConnection(
            str(self._where.hostname), self._where.port, timeout=30, context=self._tls
        )
        with closing(connection):
            connection.request("POST", self._path, json.dumps(pod), self._headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        attempt = Attempt(sent, time.monotonic(), response.status, answer)
        self.attempts.append(attempt)
        if attempt.status == http.HTTPStatus.CREATED:
            self._next = next(self._names)
