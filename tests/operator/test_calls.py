"""How calls on the API server are named when they are counted."""

import pytest

from rolesanywhere_operator.kube.calls import Call

GROUP = "/apis/rolesanywhere.dev/v1alpha1"


@pytest.mark.parametrize(
    ("method", "path", "verb", "resource"),
    [
        ("GET", f"{GROUP}/rolesanywherebindings", "list", "rolesanywherebindings"),
        ("GET", f"{GROUP}/namespaces/a/rolesanywherebindings", "list", "rolesanywherebindings"),
        ("GET", f"{GROUP}/namespaces/a/rolesanywherebindings/b", "get", "rolesanywherebindings"),
        (
            "PATCH",
            f"{GROUP}/namespaces/a/rolesanywherebindings/b/status",
            "patch",
            "rolesanywherebindings/status",
        ),
        ("GET", "/api/v1/pods", "list", "pods"),
        ("GET", "/api/v1/namespaces", "list", "namespaces"),
        ("GET", "/api/v1/namespaces/a", "get", "namespaces"),
        ("POST", "/api/v1/namespaces/a/events", "create", "events"),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", "update", "leases"),
        ("DELETE", "/api/v1/namespaces/a/secrets/b", "delete", "secrets"),
        ("GET", "/apis", "get", "discovery"),
        ("GET", "/version", "get", "discovery"),
        ("GET", GROUP, "get", "discovery"),
    ],
)
def test_a_call_is_named_as_rbac_names_it(method: str, path: str, verb: str, resource: str) -> None:
    call = Call.of(method, path, watch=False, status=200, seconds=0.1)
    assert (call.verb, call.resource) == (verb, resource)


def test_a_watch_is_a_watch() -> None:
    assert Call.of("GET", "/api/v1/pods", watch=True, status=200, seconds=0).verb == "watch"
