"""What a sidecar is given besides what all are: volumes, mounts, variables, limits.

Never says what for: that is `tokenwiring`'s and `egresswiring`'s to know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """``limits`` are resources that the kubelet hands out; ``group`` is the sidecar's, if it
    matters."""

    volumes: tuple[Json, ...] = ()
    mounts: tuple[Json, ...] = ()
    env: tuple[Json, ...] = ()
    limits: Mapping[str, Any] | None = None
    group: int | None = None

    def joined(self, other: "Wiring") -> "Wiring":
        """Both; of what there can be one of, this one's if it has it."""
        return Wiring(
            volumes=self.volumes + other.volumes,
            mounts=self.mounts + other.mounts,
            env=self.env + other.env,
            limits=self.limits or other.limits,
            group=self.group or other.group,
        )

    def added_to(self, resources: Mapping[str, Any]) -> Json:
        """``resources`` of a container, and what they have to be besides."""
        if not self.limits:
            return dict(resources)
        # Who says how many devices means it.
        return {**resources, "limits": {**self.limits, **(resources.get("limits") or {})}}


NO_WIRING: Final = Wiring()


def literal(value: str) -> str:
    """``value`` such that Kubernetes expands nothing in it; a role's path may hold ``$(``."""
    return value.replace("$", "$$")
