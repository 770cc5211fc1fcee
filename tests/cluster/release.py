"""The chart's release in a control plane without nodes: its schema, accounts and webhook.

The programs run here instead of in pods, under the accounts and permissions that the chart gives
them. Only the webhook's address is not the chart's: no kubelet, no Services.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chart.helm import CHART, FULLNAME, as_yaml, render
from tests.cluster import authorization, programs
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import KubectlFailed
from tests.cluster.programs import Program
from tests.operator.builders import a_pod
from tests.support.waiting import eventually

# A port on which nobody listens.
NOBODY: Final = 1
# The most that an API server takes.
ATTEMPT_SECONDS: Final = 30
CRD: Final = CHART.parents[1] / "crds" / "rolesanywherebindings.yaml"


@dataclass(frozen=True, slots=True)
class Release:
    """What `install` made: ``namespace`` holds the accounts, ``folder`` the webhook's files.

    ``authority`` issued ``certificate``, which is for 127.0.0.1; all in PEM.
    """

    control_plane: ControlPlane
    helm: Path
    namespace: str
    folder: Path
    authority: bytes
    certificate: bytes
    private_key: bytes

    @contextmanager
    def serving(self, *, sidecar_image: str, **more: Any) -> Iterator[Program]:
        """A `webhook` that is ready, and that the API server calls."""
        with self.webhook(sidecar_image=sidecar_image, **more) as started:
            eventually("the webhook is ready", lambda: started.is_ready)
            with self.called(started):
                eventually("the API server calls it", self.is_heard_of)
                yield started

    @contextmanager
    def webhook(
        self,
        *,
        sidecar_image: str,
        certified: bool = True,
        kubeconfig: Path | None = None,
        **more: object,
    ) -> Iterator[Program]:
        """A webhook under its own account, unless ``kubeconfig`` says otherwise.

        Nobody calls it yet. ``more`` are settings besides. Unless ``certified`` it lacks its
        certificate, until `certify`.
        """
        (self.folder / "tls.key").write_bytes(self.private_key)
        (self.folder / "tls.crt").unlink(missing_ok=True)
        if certified:
            self.certify()
        settings = {
            "port": 0,
            "sidecar_image": sidecar_image,
            "certificate": self.folder / "tls.crt",
            "private_key": self.folder / "tls.key",
            **more,
        }
        account = kubeconfig or self.control_plane.kubeconfig_for(
            f"{FULLNAME}-webhook", self.namespace
        )
        log = self.folder / f"webhook-{time.monotonic_ns()}.log"
        with programs.running("webhook", kubeconfig=account, log=log, settings=settings) as started:
            yield started

    def certify(self) -> None:
        """Put the certificate where the webhook looks for it."""
        (self.folder / "tls.crt").write_bytes(self.certificate)

    @contextmanager
    def called(self, webhook: Program, *, lost: Collection[str] = ()) -> Iterator[None]:
        """Have the API server call ``webhook`` for the length of the block.

        Nobody is where the attempts go whose names begin with one of ``lost``. It takes the API
        server a moment to hear of all that.
        """
        given = {
            "source": "secret",
            "secretName": "given",
            "caBundle": self.authority.decode(),
        }
        [configuration] = render(
            self.helm,
            namespace=self.namespace,
            values={"webhook": {"certificate": given}},
            only=["webhook/admission.yaml"],
        )
        # There may be two at a time.
        configuration["metadata"]["name"] += f"-{webhook.popen.pid}"
        for entry in configuration["webhooks"]:
            path = entry["clientConfig"].pop("service")["path"]
            is_lost = entry["name"].partition(".")[0] in lost
            port = NOBODY if is_lost else webhook.port("reviews")
            entry["clientConfig"]["url"] = f"https://127.0.0.1:{port}{path}"
            # On a machine that builds meanwhile an answer may take longer than the chart waits for,
            # and then the next attempt asks again.
            entry["timeoutSeconds"] = ATTEMPT_SECONDS
        self.control_plane.apply(as_yaml([configuration]))
        try:
            yield
        finally:
            name = configuration["metadata"]["name"]
            self.control_plane.kubectl("delete", "mutatingwebhookconfiguration", name)
            # Nor are pods of the next test to be put to it.
            eventually("nobody calls it any more", lambda: not self._is_asked(webhook))

    def is_heard_of(self) -> bool:
        """Whether a pod that asks in no words we know is refused, as only the webhook does."""
        return "MalformedAnnotation" in self._refusal()

    def _is_asked(self, webhook: Program) -> bool:
        """Whether the API server still puts pods to this one, which may have ended."""
        before = len(webhook.lines("admission"))
        refusal = self._refusal()
        in_vain = f":{webhook.port('reviews')}/" in refusal or f":{NOBODY}/" in refusal
        return in_vain or len(webhook.lines("admission")) > before

    def _refusal(self) -> str:
        """What is said of a pod that asks in no words we know; empty where it is let in."""
        pod = json.dumps(a_pod(inject="perhaps"))
        try:
            self.control_plane.kubectl(
                "create", "--filename=-", "--namespace=default", "--dry-run=server", input=pod
            )
        except KubectlFailed as refused:
            return str(refused)
        return ""


@contextmanager
def installed(
    control_plane: ControlPlane,
    helm: Path,
    *,
    namespace: str,
    folder: Path,
    authority: bytes,
    certificate: bytes,
    private_key: bytes,
    values: Mapping[str, Any] | None = None,
) -> Iterator[Release]:
    """The chart's schema, and its webhook's account in a new ``namespace``, for a while."""
    manifests = render(helm, namespace=namespace, values=values, only=["webhook/rbac.yaml"])
    roles = as_yaml(manifests)
    control_plane.define(CRD)
    control_plane.kubectl("create", "namespace", namespace)
    control_plane.apply(roles, namespace=namespace)
    authorization.take_effect(control_plane, manifests, namespace=namespace)
    yield Release(control_plane, helm, namespace, folder, authority, certificate, private_key)
    control_plane.kubectl("delete", "--filename=-", "--wait=false", input=roles)
    control_plane.kubectl("delete", "namespace", namespace, "--wait=false")
