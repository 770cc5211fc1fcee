"""What a namespace's Pod Security says to a sidecar that needs folders of its node.

The API server enforces it after us, with a sentence about a volume that the pod's author has never
heard of; ours comes first. Exemptions, and a default for namespaces without the label, are in the
API server's own configuration and seen by nobody else.
"""

from collections.abc import Mapping
from typing import Any, Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_operator.domain import bindings
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.domain.decisions import Decision, Inject, Reason, Refuse
from rolesanywhere_operator.domain.untyped import mapping

ENFORCE: Final = "pod-security.kubernetes.io/enforce"

# Those that forbid hostPath volumes (Kubernetes documentation, "Pod Security Standards").
FORBIDDING: Final = ("baseline", "restricted")


class PodSecurityForbids(RolesAnywhereError):
    """A binding needs what no pod of its namespace may have."""

    code = "PodSecurityForbids"


def level(namespace: Mapping[str, Any]) -> str | None:
    """The level that ``namespace``, as the API server holds it, enforces; None if it names none."""
    found = mapping(mapping(namespace.get("metadata")).get("labels")).get(ENFORCE)
    return found if isinstance(found, str) else None


def forbids(binding: Binding, enforced: str | None) -> PodSecurityForbids | None:
    """Why pods with ``binding``'s sidecar cannot be where ``enforced`` is, if they cannot."""
    folders = bindings.folders(binding)
    if not folders or enforced not in FORBIDDING:
        return None
    return PodSecurityForbids(
        f"identity.pkcs11 needs {' and '.join(folders)} of the node as a hostPath volume, which Pod"
        f" Security {enforced} of namespace {binding.namespace} refuses",
        hint=f"use a namespace whose label {ENFORCE} is privileged, or a device plugin's device"
        " without hostPaths",
    )


def judged(decision: Decision, enforced: str | None) -> Decision:
    """``decision``, or the refusal that the API server would come to."""
    if not isinstance(decision, Inject):
        return decision
    binding = decision.binding
    if (problem := forbids(binding, enforced)) is None:
        return decision
    return Refuse(
        Reason.POD_SECURITY_FORBIDS,
        f"binding {binding.namespace}/{binding.name}: {problem}",
        binding.name,
    )
