"""Users who know nothing of the webhook but what it does to their pods."""

import json
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import KubectlFailed
from tests.operator.builders import a_raw_binding

# What Pod Security's level of that name asks of a container.
RESTRICTED: Final[dict[str, Any]] = {
    "securityContext": {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
}


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
