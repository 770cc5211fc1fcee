"""Who may bind which role: the chart's policy in a real API server, for users with real RBAC."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.chart.helm import as_yaml, render
from tests.cluster.control_plane import ControlPlane
from tests.cluster.controllers import LEASE_SECONDS
from tests.cluster.kubectl import KubectlFailed
from tests.cluster.programs import running
from tests.operator.builders import ROLE, a_raw_binding
from tests.support.waiting import eventually

DOCUMENTATION: Final = (Path(__file__).parents[2] / "docs" / "who-may-bind.md").read_text()

DANA: Final = "dana@example.com"
OTHER_ROLE: Final = "arn:aws:iam::111122223333:role/team/a/ledger"


@dataclass(frozen=True)
class Team:
    """A namespace in which Dana may write bindings, and what she does there."""

    control_plane: ControlPlane
    namespace: str

    def create(
        self, name: str = "reports", *args: str, as_: str | None = DANA, **spec: Any
    ) -> None:
        binding = a_raw_binding(name, self.namespace, **spec)
        del binding["metadata"]["generation"]
        self.kubectl("create", "--filename=-", *args, input=json.dumps(binding), as_=as_)

    def change(self, as_: str | None = DANA, name: str = "reports", **changes: Any) -> None:
        self.kubectl(
            "patch", f"rab/{name}", "--type=merge", f"--patch={json.dumps(changes)}", as_=as_
        )

    def grant(self, *roles: str) -> None:
        """Dana may write bindings here, and assume ``roles``."""
        write = {
            "apiGroups": ["rolesanywhere.dev"],
            "resources": ["rolesanywherebindings"],
            "verbs": ["get", "list", "create", "update", "patch", "delete"],
        }
        assume = {
            "apiGroups": ["rolesanywhere.dev"],
            "resources": ["awsroles"],
            "resourceNames": list(roles),
            "verbs": ["assume"],
        }
        self.control_plane.apply(
            as_yaml([*a_role("write", write), *(a_role("assume", assume) if roles else [])]),
            namespace=self.namespace,
        )
        if roles:
            eventually("Dana may assume them", lambda: all(map(self.may_assume, roles)))
        else:
            eventually(
                "Dana may write bindings", lambda: self.may("create", "rolesanywherebindings")
            )

    def may_assume(self, role: str) -> bool:
        return self.may("assume", "awsroles", role)

    def may(self, verb: str, resource: str, name: str = "", *, user: str = DANA) -> bool:
        """As the authorizers say; ``kubectl auth can-i`` knows no resource of RBAC alone."""
        wanted = {
            "group": "rolesanywhere.dev",
            "namespace": self.namespace,
            "verb": verb,
            "resource": resource,
            "name": name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": wanted},
        }
        text = self.control_plane.kubectl(
            "create", "--filename=-", "--output=json", input=json.dumps(review)
        )
        return bool(json.loads(text)["status"]["allowed"])

    def kubectl(self, *args: str, input: str | None = None, as_: str | None = None) -> str:  # noqa: A002 - subprocess's own word
        return self.control_plane.kubectl(
            *args, f"--namespace={self.namespace}", input=input, as_=as_
        )


def a_role(name: str, rule: dict[str, Any]) -> list[dict[str, Any]]:
    """A Role of one rule, and Dana's binding to it."""
    group = "rbac.authorization.k8s.io"
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": {"name": name},
            "rules": [rule],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": DANA}],
        },
    ]


@pytest.fixture(scope="module")
def policy(schema: ControlPlane, helm: Path) -> Iterator[ControlPlane]:
    """The control plane with the chart's policy in force."""
    rendered = as_yaml(render(helm, namespace="aws-system", only=["bindings/authorization.yaml"]))
    schema.apply(rendered)
    schema.kubectl("create", "namespace", "policy-probe")
    probe = Team(schema, "policy-probe")
    probe.grant()
    eventually("the policy is in force", lambda: is_refused(probe))
    yield schema
    schema.kubectl("delete", "--filename=-", input=rendered)
    schema.kubectl("delete", "namespace", "policy-probe", "--wait=false")


def is_refused(team: Team) -> bool:
    try:
        team.create("probe", "--dry-run=server")
    except KubectlFailed as refused:
        return "may not bind" in str(refused)
    return False


@pytest.fixture
def team(policy: ControlPlane, namespace: str) -> Team:
    return Team(policy, namespace)


def test_who_may_write_bindings_may_not_bind_any_role_for_that(team: Team) -> None:
    team.grant()
    with pytest.raises(KubectlFailed) as caught:
        team.create()
    refusal = str(caught.value)
    assert "(Forbidden)" in refusal
    assert (
        f"{DANA} may not bind {ROLE} in namespace {team.namespace}: that takes the verb" in refusal
    )
    assert (
        'the verb "assume" on the resource "awsroles" of API group "rolesanywhere.dev" with that'
        " ARN as resourceName; ask for a Role that grants it" in refusal
    )


def test_a_grant_is_for_the_roles_it_names(team: Team) -> None:
    team.grant(ROLE)
    team.create("reports")
    with pytest.raises(KubectlFailed, match=f"may not bind {OTHER_ROLE}"):
        team.create("ledger", roleArn=OTHER_ROLE)
    team.grant(ROLE, OTHER_ROLE)
    team.create("ledger", roleArn=OTHER_ROLE)


def test_the_role_of_the_documentation_grants_what_it_says(team: Team) -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", DOCUMENTATION, re.DOTALL)
    manifests = list(yaml.safe_load_all(text))
    for manifest in manifests:
        manifest["metadata"]["namespace"] = team.namespace
    group = manifests[1]["subjects"][0]["name"]
    team.control_plane.apply(as_yaml(manifests), namespace=team.namespace)
    eventually("the group may bind", lambda: not refused(team, DANA, f"--as-group={group}"))
    with pytest.raises(KubectlFailed, match=f"may not bind {OTHER_ROLE}"):
        team.create("ledger", f"--as-group={group}", roleArn=OTHER_ROLE)


def test_a_grant_ends_at_its_namespace(team: Team) -> None:
    team.grant(ROLE)
    elsewhere = Team(team.control_plane, "policy-probe")
    with pytest.raises(KubectlFailed, match=r"may not bind .* in namespace policy-probe"):
        elsewhere.create()


def test_a_cluster_admin_binds_what_they_like(team: Team) -> None:
    team.create("reports", as_=None)
    team.change(None, spec={"roleArn": OTHER_ROLE})


def test_a_binding_cannot_be_turned_to_a_role_that_was_not_granted(team: Team) -> None:
    team.grant(ROLE)
    team.create()
    with pytest.raises(KubectlFailed, match=f"may not bind {OTHER_ROLE}"):
        team.change(spec={"roleArn": OTHER_ROLE})


@pytest.mark.parametrize(
    "spec",
    [
        {"podSelector": {"matchLabels": {"app": "mine"}}},
        {"serviceAccountNames": ["mine"]},
        {"sidecar": {"image": "registry.example/mine:1"}},
        {"identity": {"secret": {"name": "mine"}}},
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_another_ones_binding_cannot_be_turned_to_ones_own_pods(
    team: Team, spec: dict[str, Any]
) -> None:
    """The role stays as it is, and who gets it does not."""
    team.grant()
    team.create(as_=None)
    with pytest.raises(KubectlFailed, match=f"may not bind {ROLE}"):
        team.change(spec=spec)


def test_what_binds_nothing_needs_no_role(team: Team) -> None:
    team.grant()
    team.create(as_=None)
    team.change(metadata={"labels": {"owner": "dana"}, "annotations": {"note": "hers"}})
    team.change(spec={"imds": True})  # what it says already
    team.kubectl("delete", "rab/reports", as_=DANA)


def test_a_grant_that_is_taken_back_ends_with_it(team: Team) -> None:
    team.grant(ROLE)
    team.create()
    team.change(spec={"durationSeconds": 900})
    team.kubectl("delete", "rolebinding/assume")
    eventually("the grant is gone", lambda: not team.may_assume(ROLE))
    with pytest.raises(KubectlFailed, match=f"may not bind {ROLE}"):
        team.change(spec={"durationSeconds": 1800})
    team.change(metadata={"labels": {"owner": "dana"}})


def test_a_service_account_is_granted_a_role_like_anybody(team: Team) -> None:
    """How a GitOps tool is told which roles it may bind."""
    team.grant(ROLE)
    robot = f"system:serviceaccount:{team.namespace}:default"
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": team.namespace}
    patch = json.dumps({"subjects": [subject]})
    team.kubectl("patch", "rolebinding/write", "--type=merge", f"--patch={patch}")
    eventually("it may write", lambda: team.may("create", "rolesanywherebindings", user=robot))
    with pytest.raises(KubectlFailed, match=f"{robot} may not bind {ROLE}"):
        team.create(as_=robot)
    team.kubectl("patch", "rolebinding/assume", "--type=merge", f"--patch={patch}")
    eventually("it may bind", lambda: not refused(team, robot))


def refused(team: Team, user: str, *args: str) -> bool:
    try:
        team.create("reports", "--dry-run=server", *args, as_=user)
    except KubectlFailed:
        return True
    return False


def test_the_controller_keeps_the_status_though_it_may_assume_nothing(
    team: Team, accounts: dict[str, str], tmp_path: Path
) -> None:
    account = accounts["controller"]
    team.create(as_=None)
    settings = {
        "namespace": team.namespace,
        "lease_name": account,
        "lease_duration_seconds": LEASE_SECONDS,
    }
    kubeconfig = team.control_plane.kubeconfig_for(account, team.namespace)
    log = tmp_path / "controller.log"
    with running("controller", kubeconfig=kubeconfig, log=log, settings=settings):
        eventually("the binding is judged", lambda: "conditions" in status(team))
    assert status(team)["observedGeneration"] == 1


def status(team: Team) -> dict[str, Any]:
    binding = team.control_plane.kubectl.get("rab/reports", f"--namespace={team.namespace}")
    found: dict[str, Any] = binding.get("status", {})
    return found
