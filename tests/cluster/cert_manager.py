"""cert-manager in a test cluster: its own schema, and its controller played by hand.

A test says what cert-manager would say of a certificate. What it issues goes into a request for it,
as cert-manager's does, and into no Secret.
"""

import base64
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import PATIENCE
from tests.fakes import pki
from tests.support import gotools
from tests.support.waiting import eventually

# The Certificate of the binding "reports".
CERTIFICATE: Final = "certificate/rolesanywhere-reports"
SCHEMAS: Final = ("certificates.cert-manager.io", "certificaterequests.cert-manager.io")

_MODULE: Final = "github.com/cert-manager/cert-manager"
_CRDS: Final = "deploy/crds/cert-manager.io_{}.yaml"


def crds() -> tuple[Path, ...]:
    """cert-manager's own definitions of certificates and requests. Raises ``ToolMissing``."""
    names = [schema.partition(".")[0] for schema in SCHEMAS]
    return tuple(gotools.source_file("cert-manager", _MODULE, _CRDS.format(name)) for name in names)


@dataclass(frozen=True, slots=True)
class CertManager:
    """cert-manager in ``control_plane``, as far as ``namespace`` sees it."""

    control_plane: ControlPlane
    namespace: str
    schemas: tuple[Path, ...]

    def install(self) -> None:
        """Have the API server know Certificates."""
        self.control_plane.define(*self.schemas)

    def uninstall(self) -> None:
        """Have it know them no more; those that there were are deleted."""
        self.control_plane.kubectl(
            "delete", "customresourcedefinition", *SCHEMAS, "--ignore-not-found", PATIENCE
        )

    def certificate(self) -> dict[str, Any]:
        """The binding's Certificate, once there is one."""
        return self.when("there is a Certificate", lambda _: True)

    def certificates(self) -> list[dict[str, Any]]:
        """All Certificates of the namespace."""
        found: list[dict[str, Any]] = self._kubectl_get("certificates")["items"]
        return found

    def when(self, what: str, holds: Any) -> dict[str, Any]:
        """The binding's Certificate, once ``holds`` is true of it."""

        def look() -> dict[str, Any] | None:
            named = CERTIFICATE.partition("/")[2]
            for one in self.certificates():
                if one["metadata"]["name"] == named and holds(one):
                    return one
            return None

        found: dict[str, Any] = eventually(what, look)
        return found

    def issues(self, *, until: str = "2036-01-01T00:00:00Z", serial: int | None = None) -> None:
        """Say what cert-manager says after a success; with ``serial`` there is a request, too."""
        revision = 1 + int(self.certificate().get("status", {}).get("revision", 0))
        if serial is not None:
            self._request(revision, serial, datetime.fromisoformat(until))
        self._say(
            ("Ready", "True", "Ready", "Certificate is up to date and has not expired"),
            notAfter=until,
            renewalTime="2035-01-01T00:00:00Z",
            revision=revision,
        )

    def _request(self, revision: int, serial: int, until: datetime) -> None:
        """The request by which the Certificate's ``revision`` was issued."""
        certificate = self.certificate()
        name = f"{certificate['metadata']['name']}-{revision}"
        owner = {
            "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "controller": True,
            "name": certificate["metadata"]["name"], "uid": certificate["metadata"]["uid"],
        }  # fmt: skip
        lives = timedelta(days=1)
        template = replace(pki.LEAF, serial=serial, starts=timedelta(), lives=lives)
        issued = pki.Authority.root(at=until - lives).leaf(
            "as-issued", at=until - lives, template=template
        )
        self.control_plane.apply(
            json.dumps(
                {
                    "apiVersion": "cert-manager.io/v1",
                    "kind": "CertificateRequest",
                    "metadata": {"name": name, "ownerReferences": [owner]},
                    "spec": {"request": "bm9uZQ==", "issuerRef": certificate["spec"]["issuerRef"]},
                }
            ),
            namespace=self.namespace,
        )
        status = {"certificate": base64.b64encode(issued.certificate_pem).decode()}
        self.control_plane.kubectl(
            "patch", f"certificaterequest/{name}", f"--namespace={self.namespace}",
            "--type=merge", "--subresource=status", f"--patch={json.dumps({'status': status})}",
        )  # fmt: skip

    def fails(self, message: str, *, ready: bool = False) -> None:
        """Say what cert-manager says after a failure, with a certificate at hand or without."""
        state = ("True", "Ready", "up to date") if ready else ("False", "DoesNotExist", "no Secret")
        self._say(
            ("Ready", *state),
            ("Issuing", "False", "Failed", message),
            lastFailureTime="2026-01-01T00:00:00Z",
        )

    def _say(self, *conditions: tuple[str, str, str, str], **status: Any) -> None:
        generation = self.certificate()["metadata"]["generation"]
        told = [
            {
                "type": kind, "status": truth, "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation,
            }
            for kind, truth, reason, message in conditions
        ]  # fmt: skip
        self.patch({"status": {"conditions": told, **status}}, "--subresource=status")

    def patch(self, change: dict[str, Any], *more: str) -> None:
        """Write to the binding's Certificate as somebody else."""
        self.control_plane.kubectl(
            "patch", CERTIFICATE, f"--namespace={self.namespace}", "--type=merge",
            f"--patch={json.dumps(change)}", *more,
        )  # fmt: skip

    def _kubectl_get(self, what: str) -> Any:
        return self.control_plane.kubectl.get(what, f"--namespace={self.namespace}")
