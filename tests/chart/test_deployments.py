"""How the pods of both programs run as the chart comes, and what a user may say instead."""

import json
from pathlib import Path
from typing import Any

import pytest

from rolesanywhere_operator.domain import sidecardefaults
from rolesanywhere_operator.settings import WebhookSettings
from tests.chart.helm import FULLNAME, Manifest, render
from tests.chart.matrix import SCHEDULING
from tests.cluster.binaries import find_or_build_helm
from tests.operator.builders import a_binding
from tests.support.tools import build_or_skip

COMPONENTS = pytest.mark.parametrize("component", ["webhook", "controller"])


@pytest.fixture(scope="module")
def helm() -> Path:
    return build_or_skip(find_or_build_helm)


def found(helm: Path, kind: str, component: str, **values: Any) -> Manifest | None:
    """The object of ``kind`` that belongs to ``component``."""
    named = [
        one for one in render(helm, namespace="aws-system", values=values)
        if (one["kind"], one["metadata"]["name"]) == (kind, f"{FULLNAME}-{component}")
    ]  # fmt: skip
    assert len(named) <= 1
    return named[0] if named else None


def deployment(helm: Path, component: str, **values: Any) -> Any:
    there = found(helm, "Deployment", component, **values)
    assert there is not None
    return there["spec"]


def pod(helm: Path, component: str, **values: Any) -> Any:
    return deployment(helm, component, **values)["template"]["spec"]


def test_a_webhook_that_is_to_end_waits_until_nobody_calls_it(helm: Path) -> None:
    """Ten seconds for the nodes to hear of it, then the program's own drain, all within the grace
    that the kubelet gives."""
    spec = pod(helm, "webhook")
    [container] = spec["containers"]
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}
    assert spec["terminationGracePeriodSeconds"] == 30


@COMPONENTS
def test_replicas_are_on_different_nodes_where_there_are_some(helm: Path, component: str) -> None:
    whole = deployment(helm, component)
    [constraint] = whole["template"]["spec"]["topologySpreadConstraints"]
    assert constraint == {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": whole["selector"],
    }


def test_the_webhook_may_push_others_aside_and_the_controller_not(helm: Path) -> None:
    assert pod(helm, "webhook")["priorityClassName"] == "system-cluster-critical"
    assert "priorityClassName" not in pod(helm, "controller")
    assert "priorityClassName" not in pod(helm, "webhook", webhook={"priorityClassName": ""})


@pytest.mark.parametrize(
    ("component", "given", "told"),
    [
        ("webhook", {}, {"maxUnavailable": 1}),
        ("webhook", {"maxUnavailable": "50%"}, {"maxUnavailable": "50%"}),
        ("webhook", {"maxUnavailable": 0}, {"maxUnavailable": 0}),
        ("webhook", {"minAvailable": 1}, {"minAvailable": 1}),
        ("controller", {"enabled": True}, {"maxUnavailable": 1}),
        ("controller", {"enabled": True, "minAvailable": "50%"}, {"minAvailable": "50%"}),
    ],
)
def test_a_drain_takes_no_more_pods_than_the_budget_says(
    helm: Path, component: str, given: dict[str, Any], told: dict[str, Any]
) -> None:
    budget = found(
        helm, "PodDisruptionBudget", component, **{component: {"podDisruptionBudget": given}}
    )
    assert budget is not None
    assert budget["spec"] == told | {
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": deployment(helm, component)["selector"],
    }


@pytest.mark.parametrize(
    ("component", "given"), [("webhook", {"enabled": False}), ("controller", {})]
)
def test_without_a_budget_there_is_none(helm: Path, component: str, given: dict[str, Any]) -> None:
    values = {component: {"podDisruptionBudget": given}}
    assert found(helm, "PodDisruptionBudget", component, **values) is None


@COMPONENTS
def test_the_deployment_and_its_account_carry_what_the_user_hangs_on_them(
    helm: Path, component: str
) -> None:
    values = {component: SCHEDULING}
    there = found(helm, "Deployment", component, **values)
    account = found(helm, "ServiceAccount", component, **values)
    assert there is not None
    assert account is not None
    assert there["metadata"]["annotations"] == {"reloader": "yes"}
    assert there["spec"]["strategy"] == {"type": "Recreate"}
    assert account["metadata"]["annotations"] == {"note": "x"}
    assert account["metadata"]["labels"]["team"] == "platform"


@COMPONENTS
def test_as_it_comes_nothing_ties_the_pods_to_a_node(helm: Path, component: str) -> None:
    there = pod(helm, component)
    assert not {"nodeSelector", "tolerations", "affinity", "imagePullSecrets"} & there.keys()
    [container] = there["containers"]
    assert container["imagePullPolicy"] == "IfNotPresent"


@COMPONENTS
def test_how_images_are_pulled_is_the_users_to_say(helm: Path, component: str) -> None:
    there = pod(helm, component, images={"pullPolicy": "Always", "pullSecrets": ["mine"]})
    assert there["containers"][0]["imagePullPolicy"] == "Always"
    assert there["imagePullSecrets"] == [{"name": "mine"}]


def set_up(helm: Path, **values: Any) -> WebhookSettings:
    """What the webhook makes of what the chart tells it."""
    [container] = pod(helm, "webhook", **values)["containers"]
    return WebhookSettings.from_env({one["name"]: one["value"] for one in container["env"]})


def test_sidecars_are_as_the_program_makes_them_without_the_chart(helm: Path) -> None:
    told = set_up(helm)
    assert told.sidecar_resources == sidecardefaults.RESOURCES
    assert told.sidecar_log_level == "info"


def test_the_least_a_user_says_of_sidecars_leaves_the_rest_as_it_was(helm: Path) -> None:
    told = set_up(helm, sidecar={"resources": {"limits": {"cpu": 0.5, "example.com/x": 1}}})
    assert told.sidecar_resources == {
        "requests": {"cpu": "10m", "memory": "64Mi"},
        "limits": {"cpu": "0.5", "memory": "128Mi", "example.com/x": "1"},
    }
    assert set_up(helm, sidecar={"logLevel": "error"}).sidecar_log_level == "error"


def test_sidecars_may_be_without_requests_and_limits(helm: Path) -> None:
    told = set_up(helm, sidecar={"resources": {"requests": None, "limits": None}})
    assert told.sidecar_defaults.resources_for(a_binding()) == {}


def test_a_way_to_aws_is_told_in_the_words_of_a_binding(helm: Path) -> None:
    as_it_comes = set_up(helm)
    assert (as_it_comes.sidecar_proxy, as_it_comes.sidecar_ca_bundle) == (None, None)
    proxy = {"url": "http://proxy.example:65535/", "noProxy": [".corp.example", "fd00::/8"]}
    told = set_up(helm, sidecar={"proxy": proxy, "caBundle": {"configMap": {"name": "corp"}}})
    said = a_binding(sidecar={"proxy": proxy, "caBundle": {"configMap": {"name": "corp"}}})
    assert said.sidecar_proxy is not None
    assert told.sidecar_proxy == said.sidecar_proxy
    assert told.sidecar_ca_bundle == said.sidecar_ca_bundle
    secret = {"urlSecretRef": {"name": "proxy", "key": "url"}}
    told = set_up(helm, sidecar={"proxy": secret})
    assert told.sidecar_proxy == a_binding(sidecar={"proxy": secret}).sidecar_proxy


@pytest.mark.parametrize(
    "sidecar",
    [
        None,
        {"resources": None, "logLevel": None, "proxy": None, "caBundle": None},
        {"proxy": {"url": None, "urlSecretRef": None, "noProxy": None}},
        {"caBundle": {"configMap": None}},
    ],
    ids=json.dumps,
)
def test_no_word_on_sidecars_is_the_default(helm: Path, sidecar: Any) -> None:
    assert set_up(helm, sidecar=sidecar).sidecar_defaults == set_up(helm).sidecar_defaults
