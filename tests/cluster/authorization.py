"""What the chart's ServiceAccounts may do by now, as the API server's own authorizer says.

It hears of a role by a watch, a moment after whoever wrote it was answered. Asked by plain HTTPS,
for kubectl would be a process each time.
"""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from itertools import product
from typing import Any, Final
from urllib.parse import urlsplit

from tests.chart import permissions
from tests.chart.helm import FULLNAME, Manifest
from tests.chart.permissions import Permission
from tests.cluster.control_plane import ControlPlane
from tests.support.waiting import eventually

_PATH: Final = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
ANSWER_SECONDS: Final = 30.0

# Everybody may ask what he may do and what the API offers; what is left is what the chart gave.
EVERYBODYS: Final = frozenset(
    {
        "selfsubjectreviews.authentication.k8s.io",
        "selfsubjectaccessreviews.authorization.k8s.io",
        "selfsubjectrulesreviews.authorization.k8s.io",
    }
)


def user(component: str, namespace: str) -> str:
    """The account of that component in ``namespace``, as the API server calls it."""
    return f"system:serviceaccount:{namespace}:{FULLNAME}-{component}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One verb on one resource; ``name`` is empty for any."""

    resource: str  # plural, group and subresource: pods, leases.coordination.k8s.io, x.y/status
    name: str
    verb: str


def rules(control_plane: ControlPlane, user: str, namespace: str) -> set[Rule]:
    """All that ``user`` may do in ``namespace``, as the API server itself sums it up."""
    answer = _ask(control_plane, user, {"spec": {"namespace": namespace}})
    assert answer["status"]["incomplete"] is False
    found = {rule for raw in answer["status"]["resourceRules"] for rule in _each(raw)}
    return {rule for rule in found if rule.resource not in EVERYBODYS}


def _each(raw: Mapping[str, Any]) -> Iterator[Rule]:
    names = raw.get("resourceNames") or [""]
    for group, resource, name, verb in product(
        raw["apiGroups"], raw["resources"], names, raw["verbs"]
    ):
        plural, slash, sub = resource.partition("/")
        yield Rule(f"{plural}.{group}".rstrip(".") + slash + sub, name, verb)


def take_effect(
    control_plane: ControlPlane, manifests: Sequence[Manifest], *, namespace: str
) -> None:
    """Wait until the accounts in ``namespace`` may do what the roles among ``manifests`` grant.

    And nothing else, where one of them could do more until now.
    """
    granted = {*permissions.granted(manifests, namespace=namespace)}
    components = {one.component for one in granted}

    def are_known() -> bool:
        return granted == {
            one for component in components for one in _held(control_plane, component, namespace)
        }

    eventually("the API server has heard of the roles", are_known)


def _held(control_plane: ControlPlane, component: str, namespace: str) -> set[Permission]:
    return {
        Permission(component, rule.verb, rule.resource, permissions.anonymous(rule.name, namespace))
        for rule in rules(control_plane, user(component, namespace), namespace)
    }


def _ask(control_plane: ControlPlane, user: str, review: Mapping[str, Any]) -> Any:
    admin = json.loads(control_plane.admin_kubeconfig.read_text())["users"][0]["user"]
    headers = {
        "Authorization": f"Bearer {admin['token']}",
        "Content-Type": "application/json",
        "Impersonate-User": user,
    }
    where = urlsplit(control_plane.url)
    tls = ssl.create_default_context(cafile=str(control_plane.ca_file))
    connection = http.client.HTTPSConnection(
        str(where.hostname), where.port, timeout=ANSWER_SECONDS, context=tls
    )
    with closing(connection):
        connection.request("POST", _PATH, json.dumps(review), headers)
        response = connection.getresponse()
        text = response.read().decode()
    assert response.status == HTTPStatus.CREATED, text
    return json.loads(text)
