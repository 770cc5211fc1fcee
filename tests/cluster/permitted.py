"""The programs of a release under their own accounts, and what these may do: seen, and taken away.

Roles are the chart's, in a real API server, whose audit log says what was asked of them.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chart import permissions
from tests.chart.helm import Manifest, as_yaml
from tests.chart.permissions import Permission
from tests.cluster import authorization
from tests.cluster.audit import Request
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubeconfigs import write_kubeconfig
from tests.cluster.kubectl import KubectlFailed
from tests.cluster.programs import Program, running
from tests.operator.builders import a_raw_binding
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Release:
    """A namespace with the chart's accounts, and the programs that run under them.

    They find the API server at ``url``.
    """

    control_plane: ControlPlane
    url: str
    namespace: str
    accounts: dict[str, str]
    manifests: list[Manifest]
    folder: Path
    started: ExitStack

    def start(self, component: str, **besides: object) -> Program:
        """A program that was told what the chart tells it."""
        # The halves of the webhook are told the same.
        container, *_ = [
            container
            for manifest in self.manifests
            if manifest["kind"] == "Deployment"
            for container in manifest["spec"]["template"]["spec"]["containers"]
            if container["name"] == component
        ]
        prefix = "ROLESANYWHERE_OPERATOR_"
        settings: dict[str, object] = {
            e["name"].removeprefix(prefix).lower(): e.get("value", self.namespace)
            for e in container["env"]
        }
        return self.started.enter_context(
            running(
                component,
                kubeconfig=self._kubeconfig(component),
                log=self.folder / f"{component}.log",
                settings={**settings, "probe_port": 0, **besides},
            )
        )

    def bind(self, *, seconds: int = 3600, **identity: Any) -> None:
        """The binding ``reports``, with that identity and length of sessions."""
        binding = a_raw_binding(
            "reports", self.namespace, identity=identity, durationSeconds=seconds
        )
        del binding["metadata"]["generation"]
        self.control_plane.kubectl("apply", "--filename=-", input=json.dumps(binding))

    def get(self, what: str) -> Any:
        """``kubectl get`` in the namespace; None for what is not there."""
        try:
            return self.control_plane.kubectl.get(what, f"--namespace={self.namespace}")
        except KubectlFailed:
            return None

    def ready(self) -> str:
        """The reason of the binding's condition Ready."""
        conditions = ((self.get("rab/reports") or {}).get("status") or {}).get("conditions") or []
        return next((str(c["reason"]) for c in conditions if c["type"] == "Ready"), "")

    def granted(self, component: str) -> list[Permission]:
        """What the chart grants it."""
        return [
            one
            for one in permissions.granted(self.manifests, namespace=self.namespace)
            if one.component == component
        ]

    def asked(self, component: str, *, allowed: bool) -> set[Permission]:
        """What RBAC was asked about its account and ``allowed``, or refused."""
        user = f"system:serviceaccount:{self.namespace}:{self.accounts[component]}"
        return {
            one
            for request in self.control_plane.audit.requests_of(user)
            if request.allowed is allowed
            for one in self._permissions(component, request)
        }

    def allow_all_but(self, *missing: Permission) -> None:
        """Have the roles grant what the chart's do, without ``missing``."""
        roles = [_without(role, missing, self.namespace) for role in self.manifests if _rules(role)]
        self.control_plane.apply(as_yaml(roles), namespace=self.namespace)
        authorization.take_effect(self.control_plane, roles, namespace=self.namespace)

    def until_refused(self, permission: Permission) -> None:
        """Wait until its program has asked for it, and was refused."""
        eventually(
            f"{permission} is refused",
            lambda: permission in self.asked(permission.component, allowed=False),
        )

    def _permissions(self, component: str, request: Request) -> Iterator[Permission]:
        # Names are left out where any was meant.
        name = permissions.anonymous(request.name, self.namespace)
        of_one_name = permissions.NAME in name
        for verb in request.verbs:
            yield Permission(component, verb, request.resource, name if of_one_name else "")

    def _kubeconfig(self, component: str) -> Path:
        account = self.accounts[component]
        direct = self.control_plane.kubeconfig_for(account, self.namespace)
        token = json.loads(direct.read_text())["users"][0]["user"]["token"]
        return write_kubeconfig(
            self.folder / f"{component}.kubeconfig",
            url=self.url,
            ca_file=self.control_plane.ca_file,
            token=token,
        )


def _rules(manifest: Manifest) -> Any:
    return manifest["kind"] in ("Role", "ClusterRole") and manifest["rules"]


def _without(role: Manifest, missing: tuple[Permission, ...], namespace: str) -> Manifest:
    changed = deepcopy(role)
    for rule in changed["rules"]:
        one_verb = [{**role, "rules": [{**rule, "verbs": [verb]}]} for verb in rule["verbs"]]
        rule["verbs"] = [
            alone["rules"][0]["verbs"][0]
            for alone in one_verb
            if not {*permissions.granted([alone], namespace=namespace)} & {*missing}
        ]
    changed["rules"] = [rule for rule in changed["rules"] if rule["verbs"]]
    return changed
