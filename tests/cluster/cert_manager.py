"""cert-manager in a test cluster: its own schema, and its controller played by hand.

Nothing here issues a certificate: a test says what cert-manager would say of one.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cluster.control_plane import ControlPlane
from tests.support import gotools
from tests.support.waiting import eventually

# The Certificate of the binding "reports".
CERTIFICATE: Final = "certificate/rolesanywhere-reports"
SCHEMA: Final = "certificates.cert-manager.io"

_MODULE: Final = "github.com/cert-manager/cert-manager"
_CRD: Final = "deploy/crds/cert-manager.io_certificates.yaml"


def crd() -> Path:
    """cert-manager's own definition of a Certificate. Raises ``ToolMissing``."""
    return gotools.source_file("cert-manager", _MODULE, _CRD)


@dataclass(frozen=True, slots=True)
class CertManager:
    """cert-manager in ``control_plane``, as far as ``namespace`` sees it."""

    control_plane: ControlPlane
    namespace: str
    schema: Path

    def install(self) -> None:
        """Have the API server know Certificates."""
        self.control_plane.apply(self.schema.read_text())
        self.control_plane.kubectl(
            "wait", "--for=condition=Established", f"--filename={self.schema}", "--timeout=30s"
        )

    def uninstall(self) -> None:
        """Have it know them no more; those that there were are deleted."""
        self.control_plane.kubectl(
            "delete", "customresourcedefinition", SCHEMA, "--ignore-not-found", "--timeout=60s"
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

    def issues(self, *, until: str = "2036-01-01T00:00:00Z") -> None:
        """Say what cert-manager says after a success."""
        self._say(
            ("Ready", "True", "Ready", "Certificate is up to date and has not expired"),
            notAfter=until,
            renewalTime="2035-01-01T00:00:00Z",
            revision=1,
        )

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
