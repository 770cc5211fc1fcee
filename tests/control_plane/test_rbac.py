"""What the two ServiceAccounts may do, as a real API server says: enough, and no more."""

import json

import pytest

from tests.chart import permissions as chart
from tests.chart.helm import FULLNAME
from tests.cluster import authorization
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import KubectlFailed

# Of one name, and yet of no namespace.
CLUSTER_SCOPED = {"mutatingwebhookconfigurations.admissionregistration.k8s.io"}


@pytest.fixture
def users(accounts: dict[str, str], namespace: str) -> dict[str, str]:
    """The chart's accounts by component, as users that can be impersonated."""
    return {component: authorization.user(component, namespace) for component in accounts}


def permissions(control_plane: ControlPlane, user: str, namespace: str) -> dict[str, set[str]]:
    """Verbs by resource (and name)."""
    found: dict[str, set[str]] = {}
    for rule in authorization.rules(control_plane, user, namespace):
        found.setdefault(f"{rule.resource}/{rule.name}".rstrip("/"), set()).add(rule.verb)
    return found


def documented(component: str, *, here: bool) -> dict[str, set[str]]:
    """What the documentation says of an account; of one name only ``here``, in its namespace."""
    found: dict[str, set[str]] = {}
    for one in chart.documented():
        if one.component == component and (here or not one.name or one.resource in CLUSTER_SCOPED):
            name = one.name.replace(chart.NAME, FULLNAME)
            found.setdefault(f"{one.resource}/{name}".rstrip("/"), set()).add(one.verb)
    return found


@pytest.mark.parametrize("component", ["webhook", "controller"])
def test_an_account_may_do_what_is_documented_and_that_is_all(
    control_plane: ControlPlane, namespace: str, users: dict[str, str], component: str
) -> None:
    for where in (namespace, "default", "kube-system"):
        allowed = permissions(control_plane, users[component], where)
        anonymous = {name.replace(f"{namespace}-", ""): verbs for name, verbs in allowed.items()}
        assert anonymous == documented(component, here=where == namespace), where


def may(control_plane: ControlPlane, user: str, namespace: str, deed: str) -> bool:
    """Whether the authorizers grant ``deed``: a verb, a resource, and perhaps its API group."""
    verb, resource, *group = deed.split()
    plural, _, sub = resource.partition("/")
    attributes = {"namespace": namespace, "verb": verb, "resource": plural, "subresource": sub}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes | {"group": "".join(group)}},
    }
    answer = control_plane.kubectl(
        "create", "--filename=-", "--output=json", input=json.dumps(review)
    )
    return bool(json.loads(answer)["status"]["allowed"])


@pytest.mark.parametrize("component", ["webhook", "controller"])
def test_what_would_be_a_way_to_more_is_refused(
    control_plane: ControlPlane, namespace: str, users: dict[str, str], component: str
) -> None:
    deeds = [
        "list rolesanywherebindings rolesanywhere.dev",
        "update rolesanywherebindings rolesanywhere.dev",
        "get secrets",
        "list secrets",
        "create pods",
        "patch pods",
        "delete pods",
        "create pods/exec",
        "get pods/exec",
        "update pods/ephemeralcontainers",
        "create serviceaccounts/token",
        "create leases coordination.k8s.io",
        "patch mutatingwebhookconfigurations admissionregistration.k8s.io",
        "bind clusterroles rbac.authorization.k8s.io",
        "impersonate users",
    ]
    user = users[component]
    granted = [deed for deed in deeds if may(control_plane, user, namespace, deed)]
    assert granted == ["list rolesanywherebindings rolesanywhere.dev"]


def put_lease(control_plane: ControlPlane, user: str, namespace: str, name: str) -> str:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace},
    }
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"
    return control_plane.kubectl(
        "replace", f"--raw={path}", "--filename=-", input=json.dumps(lease), as_=user
    )


def test_a_lease_can_be_made_under_one_name_only(
    control_plane: ControlPlane, namespace: str, users: dict[str, str]
) -> None:
    mine, user = f"{FULLNAME}-controller", users["controller"]
    with pytest.raises(KubectlFailed, match="forbidden"):
        put_lease(control_plane, user, namespace, "another")
    made = json.loads(put_lease(control_plane, user, namespace, mine))
    assert made["metadata"]["name"] == mine


def test_a_lease_that_is_there_cannot_be_replaced_blindly(
    control_plane: ControlPlane, namespace: str, users: dict[str, str]
) -> None:
    """Two that create it at once: the second must not win, and names no version to replace."""
    mine, user = f"{FULLNAME}-controller", users["controller"]
    put_lease(control_plane, user, namespace, mine)
    with pytest.raises(KubectlFailed, match="resourceVersion"):
        put_lease(control_plane, user, namespace, mine)
