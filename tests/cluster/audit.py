"""What the API server of a test cluster was asked by ServiceAccounts, as it writes it down itself.

Metadata alone: who, what, and whether it was allowed. Never a body, and never Kubernetes' own
controllers.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}

_MAY_CREATE: Final = ("update", "patch")


@dataclass(frozen=True, slots=True)
class Request:
    """One request: what RBAC was asked about, and what it said."""

    verbs: frozenset[str]
    resource: str  # plural, group and subresource: pods, leases.coordination.k8s.io, x.y/status
    namespace: str
    name: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class AuditFiles:
    """The policy that the API server reads, and the record that it writes."""

    policy: Path
    log: Path

    def requests_of(self, user: str) -> Iterator[Request]:
        """Every request for an object or a list that ``user`` has made so far."""
        for line in self.log.read_text().splitlines():
            if user not in line:
                continue
            event = json.loads(line)
            about = event.get("objectRef")
            if event["user"]["username"] != user or not about:
                continue
            group, sub = about.get("apiGroup", ""), about.get("subresource", "")
            verbs, allowed = _judged(event)
            yield Request(
                verbs=verbs,
                resource=f"{about['resource']}.{group}".rstrip(".") + (f"/{sub}" if sub else ""),
                namespace=about.get("namespace", ""),
                name=about.get("name", ""),
                allowed=allowed,
            )


def _judged(event: dict[str, Any]) -> tuple[frozenset[str], bool]:
    """Which verbs RBAC was asked about, and whether it said yes.

    A PUT or PATCH that makes an object takes "create" as well, which is asked for later: then the
    annotation says "allow", and the answer is 403 all the same.
    """
    verb, code = event["verb"], event["responseStatus"]["code"]
    allowed = event["annotations"]["authorization.k8s.io/decision"] == "allow"
    if allowed and code == HTTPStatus.FORBIDDEN and verb in _MAY_CREATE:
        return frozenset({"create"}), False
    return frozenset({verb, "create"} if code == HTTPStatus.CREATED else {verb}), allowed


def write_policy(folder: Path) -> AuditFiles:
    """The files of a control plane in ``folder``; the record is made with its first request."""
    policy = folder / "audit-policy.json"
    policy.write_text(json.dumps(_POLICY))
    log = folder / "audit.log"
    log.touch(mode=0o600)
    return AuditFiles(policy, log)
