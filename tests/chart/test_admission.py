"""Whom the API server asks about a pod, in which order, and where that leads.

`tests/control_plane/test_attempts.py` has a real API server do it.
"""

from base64 import b64decode
from collections.abc import Sequence
from typing import Any

import pytest

from rolesanywhere_contract.names import (
    IDENTITY_VOLUME,
    INJECTED_ANNOTATION,
    SIDECAR_CONTAINER,
    TOKEN_DIRECTORY,
    TOKEN_VOLUME,
)
from rolesanywhere_operator.domain.manifests import SIDECAR_ARGS
from tests.chart.helm import FULLNAME, Manifest
from tests.chart.test_chart import CA, of_kind, rendered

ASKS = (
    "has(object.metadata.annotations) &&"
    " ('rolesanywhere.dev/inject' in object.metadata.annotations ||"
    " 'rolesanywhere.dev/binding' in object.metadata.annotations ||"
    " 'rolesanywhere.dev/containers' in object.metadata.annotations ||"
    " 'rolesanywhere.dev/skip-containers' in object.metadata.annotations)"
)
OPTED_IN = (
    "!has(object.metadata.annotations) ||"
    " !('rolesanywhere.dev/inject' in object.metadata.annotations) ||"
    " object.metadata.annotations['rolesanywhere.dev/inject'] != 'false' ||"
    " 'rolesanywhere.dev/binding' in object.metadata.annotations"
)
# As `marks.is_injected` knows one.
LACKS_A_SIDECAR = (
    "!has(object.metadata.annotations) ||"
    f" !('{INJECTED_ANNOTATION}' in object.metadata.annotations) ||"
    " !has(object.spec.initContainers) ||"
    f" !object.spec.initContainers.exists(one, one.name == '{SIDECAR_CONTAINER}' &&"
    " has(one.restartPolicy) && one.restartPolicy == 'Always' &&"
    f" has(one.args) && one.args == {SIDECAR_ARGS} && has(one.volumeMounts) &&"
    f" one.volumeMounts.exists(mount, mount.name == '{IDENTITY_VOLUME}') &&"
    f" one.volumeMounts.exists(mount, mount.name == '{TOKEN_VOLUME}' &&"
    f" mount.mountPath == '{TOKEN_DIRECTORY}'))"
)


@pytest.fixture(scope="module")
def chart() -> list[Manifest]:
    """The chart with the values it comes with."""
    return rendered()


def attempts(manifests: Sequence[Manifest]) -> Any:
    (configuration,) = of_kind(manifests, "MutatingWebhookConfiguration").values()
    return configuration["webhooks"]


def test_only_pods_that_ask_reach_the_webhook_and_none_that_has_been_answered(
    chart: list[Manifest],
) -> None:
    told = [[one["expression"] for one in entry["matchConditions"]] for entry in attempts(chart)]
    assert told == [[ASKS, OPTED_IN], *2 * [[ASKS, OPTED_IN, LACKS_A_SIDECAR]]]
    for entry in attempts(chart):
        assert entry["rules"] == [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "resources": ["pods"],
                "operations": ["CREATE"],
                "scope": "Namespaced",
            }
        ]


def test_a_pod_that_asks_is_never_let_through_unseen(chart: list[Manifest]) -> None:
    """Whom the first two do not reach, the last refuses; none waits longer than ten seconds."""
    told = [
        {
            name: entry[name]
            for name in (
                "name", "failurePolicy", "matchPolicy", "reinvocationPolicy", "sideEffects",
                "timeoutSeconds",
            )
        }
        for entry in attempts(chart)
    ]  # fmt: skip
    rest = {"matchPolicy": "Equivalent", "reinvocationPolicy": "IfNeeded", "sideEffects": "None"}
    name = "inject.rolesanywhere.dev"
    assert told == [
        {"name": name, "failurePolicy": "Ignore", "timeoutSeconds": 3, **rest},
        {"name": f"first-half.{name}", "failurePolicy": "Ignore", "timeoutSeconds": 3, **rest},
        {"name": f"second-half.{name}", "failurePolicy": "Fail", "timeoutSeconds": 4, **rest},
    ]


@pytest.mark.parametrize(
    ("replicas", "seconds", "shares"),
    [(1, 10, [10]), (2, 30, [10, 10, 10]), (5, 7, [2, 2, 3]), (2, 2, [1, 1, 1]), (1, 1, [1])],
)
def test_the_attempts_share_the_time_that_there_is(
    replicas: int, seconds: int, shares: list[int]
) -> None:
    told = attempts(rendered(webhook={"replicas": replicas, "timeoutSeconds": seconds}))
    assert [entry["timeoutSeconds"] for entry in told] == shares


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_the_last_attempt_is_the_users_to_judge(replicas: int, policy: str) -> None:
    told = attempts(rendered(webhook={"replicas": replicas, "failurePolicy": policy}))
    *others, last = [entry["failurePolicy"] for entry in told]
    assert last == policy
    assert set(others) <= {"Ignore"}


def test_the_attempts_differ_in_nothing_else() -> None:
    """What a user says of namespaces, pods and certificates counts for all of them."""
    told = attempts(
        rendered(
            webhook={
                "certificate": {"source": "secret", "secretName": "mine", "caBundle": CA},
                "excludedNamespaces": ["cni"],
                "namespaceSelector": {"matchLabels": {"aws": "yes"}},
                "objectSelector": {"matchLabels": {"aws": "yes"}},
            }
        )
    )
    for entry in told:
        for own in ("name", "failurePolicy", "timeoutSeconds", "matchConditions"):
            del entry[own]
        del entry["clientConfig"]["service"]["port"]
    assert told[0] == told[1] == told[2]
    assert b64decode(told[0]["clientConfig"]["caBundle"]).decode() == CA


def test_the_namespaces_that_must_come_up_without_us_are_left_out() -> None:
    manifests = rendered(webhook={"excludedNamespaces": ["cni"]})
    (configuration,) = of_kind(manifests, "MutatingWebhookConfiguration").values()
    assert configuration["webhooks"][0]["namespaceSelector"]["matchExpressions"] == [
        {
            "key": "kubernetes.io/metadata.name",
            "operator": "NotIn",
            "values": ["kube-system", "aws-system", "cni"],
        },
        {"key": "rolesanywhere.dev/injection", "operator": "NotIn", "values": ["disabled"]},
    ]


def halves(manifests: Sequence[Manifest]) -> list[Manifest]:
    """The webhook's Deployments."""
    deployments = of_kind(manifests, "Deployment")
    return [one for name, one in deployments.items() if name.startswith(f"{FULLNAME}-webhook")]


@pytest.mark.parametrize(("replicas", "each"), [(1, [1]), (2, [1, 1]), (3, [2, 1]), (6, [3, 3])])
def test_the_replicas_are_two_halves_which_differ_in_a_ports_name(
    replicas: int, each: list[int]
) -> None:
    found = halves(rendered(webhook={"replicas": replicas}))
    assert [one["spec"]["replicas"] for one in found] == each
    ports, labels, rest = [], [], []
    for one in found:
        template = one["spec"]["template"]
        (container,) = template["spec"]["containers"]
        ports.append(container["ports"][0].pop("name"))
        labels.append(template["metadata"]["labels"].pop("rolesanywhere.dev/half"))
        rest.append(template)
    assert ports == ["https-first", "https-second"][: len(each)]
    assert labels == ["first", "second"][: len(each)]
    assert rest == [rest[0]] * len(each)


def test_neither_half_takes_the_others_pods_for_its_own(chart: list[Manifest]) -> None:
    """The first one's selector fits both, as it did before there were two, and cannot change; but
    a Deployment's pods are those of its ReplicaSets."""
    first, second = halves(chart)
    mine = second["spec"]["template"]["metadata"]["labels"]
    others = first["spec"]["template"]["metadata"]["labels"]
    assert second["spec"]["selector"]["matchLabels"].items() <= mine.items()
    assert not second["spec"]["selector"]["matchLabels"].items() <= others.items()


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("port", [9443, 10250])
def test_reviews_arrive_where_the_webhook_listens(replicas: int, port: int) -> None:
    manifests = rendered(webhook={"replicas": replicas, "port": port})
    service = of_kind(manifests, "Service")[f"{FULLNAME}-webhook"]
    targets = {one["port"]: one["targetPort"] for one in service["spec"]["ports"]}
    reached = []
    for entry in attempts(manifests):
        target = entry["clientConfig"]["service"]
        assert (target["name"], target["namespace"]) == (f"{FULLNAME}-webhook", "aws-system")
        reached.append(
            [n for n, one in enumerate(halves(manifests)) if listens(one, targets[target["port"]])]
        )
    assert reached == ([[0]] if replicas == 1 else [[0, 1], [0], [1]])
    for one in halves(manifests):
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()


def listens(deployment: Manifest, target: int | str) -> bool:
    """Whether its pods serve reviews on the ``target`` of a Service's port."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {e["name"]: e.get("value") for e in container["env"]}
    number = int(environment["ROLESANYWHERE_OPERATOR_PORT"])
    named = {p["name"]: p["containerPort"] for p in container["ports"]}
    return (named.get(target) if isinstance(target, str) else target) == number


def test_two_webhooks_run_and_one_of_them_survives_a_drain(chart: list[Manifest]) -> None:
    (budget,) = of_kind(chart, "PodDisruptionBudget").values()
    assert [one["spec"]["replicas"] for one in halves(chart)] == [1, 1]
    assert budget["spec"]["maxUnavailable"] == 1
    for one in halves(chart):
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
