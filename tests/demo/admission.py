"""How the demo's pod is admitted: by a real API server where one is at hand, else directly.

Never builds anything: a demo that first compiles Kubernetes is none.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import jsonpatch

from rolesanywhere_operator.webhook.server import INJECT_PATH
from tests.cluster import binaries
from tests.cluster.binaries import Binaries
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import KubectlFailed
from tests.cluster.release import installed
from tests.demo import directly
from tests.fakes.pki import Authority
from tests.support.tools import ToolMissing
from tests.support.waiting import eventually

Json = dict[str, Any]

SIDECAR_IMAGE: Final = "example.com/rolesanywhere-sidecar:0.1.0"
RELEASE_NAMESPACE: Final = "rolesanywhere"


@dataclass(frozen=True, slots=True)
class Admitted:
    """What the webhook answered, and the pod that came of it."""

    operations: list[Json]
    pod: Json


@dataclass(frozen=True, slots=True)
class Pair:
    """The webhook's serving certificate and its key, in PEM, and the authority of both."""

    authority: bytes
    certificate: bytes
    private_key: bytes

    @classmethod
    def issued(cls, *, at: datetime) -> "Pair":
        """A pair for this machine's loopback."""
        authority = Authority.root("Demo Webhook CA", at=at)
        server = authority.server(at=at)
        return cls(authority.certificate_pem, server.certificate_pem, server.key_pem())


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs of a cluster's control plane, and Helm for the chart."""

    control_plane: Binaries
    helm: Path

    @classmethod
    def at_hand(cls) -> "Tools | None":
        """Those that earlier runs of the tests have built; none unless all are there."""
        with suppress(ToolMissing):
            control_plane, helm = binaries.find(), binaries.find_helm()
            if control_plane and helm:
                return cls(control_plane, helm)
        return None


async def directly_asked(binding: Json, pod: Json, *, folder: Path, at: datetime) -> Admitted:
    """Send the AdmissionReview to the webhook's server ourselves, and apply its patch."""
    pair = Pair.issued(at=at)
    async with directly.webhook(binding, pair, folder=folder, sidecar_image=SIDECAR_IMAGE) as url:
        operations = await directly.ask(url, pod, authority=pair.authority)
    injected: Json = jsonpatch.apply_patch(pod, operations)
    return Admitted(operations, injected)


async def by_api_server(
    tools: Tools, binding: Json, pod: Json, *, folder: Path, at: datetime
) -> Admitted:
    """Create the binding and the pod in a real control plane that calls the webhook process.

    The webhook runs under the ServiceAccount, permissions and configuration of the chart. The
    same review is sent once more by ourselves, because an API server does not show patches.
    """
    pair = Pair.issued(at=at)
    return await asyncio.to_thread(_by_api_server, tools, binding, pod, folder, pair)


def _by_api_server(tools: Tools, binding: Json, pod: Json, folder: Path, pair: Pair) -> Admitted:
    with (
        ControlPlane.start(tools.control_plane, controllers=True) as control_plane,
        installed(
            control_plane,
            tools.helm,
            namespace=RELEASE_NAMESPACE,
            folder=folder,
            authority=pair.authority,
            certificate=pair.certificate,
            private_key=pair.private_key,
        ) as release,
        release.serving(sidecar_image=SIDECAR_IMAGE) as webhook,
    ):
        _prepare(control_plane, binding)
        eventually("the binding is known", lambda: _dry_run_is_injected(control_plane, pod))
        created = _create(control_plane, pod)
        url = f"https://127.0.0.1:{webhook.port('reviews')}{INJECT_PATH}"
        operations = asyncio.run(directly.ask(url, pod, authority=pair.authority))
    return Admitted(operations, created)


def _prepare(control_plane: ControlPlane, binding: Json) -> None:
    namespace = binding["metadata"]["namespace"]
    control_plane.kubectl("create", "namespace", namespace)
    control_plane.kubectl(
        "wait", "--for=create", "serviceaccount/default", f"--namespace={namespace}"
    )
    control_plane.apply(json.dumps(binding), namespace=namespace)


def _create(control_plane: ControlPlane, pod: Json, *flags: str) -> Json:
    """The pod as the API server gives it back."""
    text = control_plane.kubectl(
        "create", "--filename=-", "--output=json", *flags, input=json.dumps(pod)
    )
    created: Json = json.loads(text)
    return created


def _dry_run_is_injected(control_plane: ControlPlane, pod: Json) -> bool:
    """An API server takes a moment to hear of a webhook; until then pods pass it by."""
    with suppress(KubectlFailed):
        return "initContainers" in _create(control_plane, pod, "--dry-run=server")["spec"]
    return False
