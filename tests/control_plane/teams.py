"""Users who know nothing of the webhook but what it does to their pods."""

import json
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import KubectlFailed
from tests.operator.builders import a_pod, a_raw_binding
from tests.support.waiting import eventually

# What Pod Security's level of that name asks of a container.
RESTRICTED: Final[dict[str, Any]] = {
    "securityContext": {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
}


def enforce(control_plane: ControlPlane, namespace: str, level: str) -> None:
    """Have Pod Security enforce ``level`` in ``namespace`` from now on."""
    label = f"pod-security.kubernetes.io/enforce={level}"
    control_plane.kubectl("label", "--overwrite", "namespace", namespace, label)
    # What admits pods hears of a label by a watch, a moment later. No level but the highest lets a
    # pod into the network of its node.
    pod = a_pod(inject=None, hostNetwork=True)
    expected = "" if level == "privileged" else f'violates PodSecurity "{level}:'

    def is_in_force() -> bool:
        said = _refusal(control_plane, namespace, pod)
        return expected in said if expected else not said

    eventually(f"Pod Security is {level}", is_in_force)


def _refusal(control_plane: ControlPlane, namespace: str, pod: dict[str, Any]) -> str:
    """What kubectl would say; empty where the pod would be let in."""
    try:
        control_plane.kubectl(
            "create", "--filename=-", f"--namespace={namespace}", "--dry-run=server",
            input=json.dumps(pod),
        )  # fmt: skip
    except KubectlFailed as refused:
        return str(refused)
    return ""


@dataclass(frozen=True)
class Team:
    """What users do."""

    control_plane: ControlPlane
    namespace: str

    def bind(self, name: str = "reports", **spec: Any) -> None:
        """Create a binding."""
        binding = a_raw_binding(name, self.namespace, **spec)
        del binding["metadata"]["generation"]
        self.create(binding)

    def create(self, manifest: dict[str, Any], *args: str) -> Any:
        """Create an object; what the API server made of it."""
        text = self.control_plane.kubectl(
            "create", "--filename=-", f"--namespace={self.namespace}", "--output=json", *args,
            input=json.dumps(manifest),
        )  # fmt: skip
        return json.loads(text)

    def refusal_of(self, pod: dict[str, Any]) -> str:
        """What kubectl says when the pod is refused."""
        with pytest.raises(KubectlFailed) as caught:
            self.create(pod)
        return str(caught.value)
