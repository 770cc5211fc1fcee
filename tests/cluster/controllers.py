"""Controllers under the chart's account, and the binding that they are to keep true."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chart.helm import FULLNAME
from tests.cluster.control_plane import ControlPlane
from tests.cluster.programs import Program, running
from tests.operator.builders import a_raw_binding
from tests.support.waiting import eventually

LEASE: Final = f"{FULLNAME}-controller"
# Who cannot renew in time ends, and nobody starts it again here: so long that the busiest machine
# renews. A tenth of it passes between two renewals.
LEASE_SECONDS: Final = 60
# For those who wait until it has ended.
SHORT_LEASE_SECONDS: Final = 15


@dataclass(frozen=True)
class Cluster:
    """One namespace with the chart's controller account, and a way to start controllers in it."""

    control_plane: ControlPlane
    namespace: str
    kubeconfig: Path
    logs: Path
    started: ExitStack

    def start(self, name: str, **more: object) -> Program:
        """A controller process with ``more`` settings; ended with the test at the latest."""
        settings = {
            "namespace": self.namespace,
            "lease_name": LEASE,
            "lease_duration_seconds": LEASE_SECONDS,
            **more,
        }
        log = self.logs / f"{name}.log"
        return self.started.enter_context(
            running("controller", kubeconfig=self.kubeconfig, log=log, settings=settings)
        )

    def leader(self, name: str, **more: object) -> Program:
        """A controller that has been elected."""
        controller = self.start(name, **more)
        eventually(f"{name} leads", lambda: controller.lines("leading"))
        return controller

    def standby(self, name: str, **more: object) -> Program:
        """A controller that would lead if it could."""
        controller = self.start(name, **more)
        eventually("the standby is ready", lambda: controller.is_ready)
        return controller

    def apply(self, **spec: Any) -> None:
        """The binding ``reports`` with ``spec`` in place of what it would say."""
        binding = a_raw_binding("reports", self.namespace, **spec)
        del binding["metadata"]["generation"]
        self.control_plane.apply(json.dumps(binding), namespace=self.namespace)

    def binding(self) -> dict[str, Any]:
        """The binding, as it is now."""
        found: dict[str, Any] = self.get("rolesanywherebinding/reports")
        return found

    def get(self, what: str) -> Any:
        """``kubectl get`` in the namespace."""
        return self.control_plane.kubectl.get(what, f"--namespace={self.namespace}")

    def judged(self, generation: int) -> dict[str, Any]:
        """The binding once the controller has seen ``generation``."""

        def look() -> dict[str, Any] | None:
            found = self.binding()
            seen = found.get("status", {}).get("observedGeneration")
            return found if seen == generation else None

        judged: dict[str, Any] = eventually(f"generation {generation} is judged", look)
        return judged


def told(binding: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Status and reason of the binding's conditions, by type; the census may be first to write."""
    status = binding.get("status") or {}
    return {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions", ())}
