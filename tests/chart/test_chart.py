"""What the chart renders: permissions to the letter, pods that are restricted, a safe webhook."""

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pytest

from rolesanywhere_operator.settings import (
    ControllerSettings,
    Settings,
    WebhookSettings,
    variable,
)
from tests.chart import permissions
from tests.chart.helm import CHART, FULLNAME, HelmFailed, Manifest, render
from tests.cluster.binaries import find_or_build_helm
from tests.support.tools import build_or_skip

CRDS = CHART.parents[1] / "crds"
CA = "-----BEGIN CERTIFICATE-----\nbm90IHJlYWxseQ==\n-----END CERTIFICATE-----\n"


def rendered(**values: Any) -> list[Manifest]:
    helm = build_or_skip(find_or_build_helm)
    return render(helm, namespace="aws-system", values=values)


@pytest.fixture(scope="module")
def chart() -> list[Manifest]:
    """The chart with the values it comes with."""
    return rendered()


def of_kind(manifests: Sequence[Manifest], kind: str) -> dict[str, Manifest]:
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == kind}


def pod_spec(manifests: Sequence[Manifest], component: str) -> Any:
    deployment = of_kind(manifests, "Deployment")[f"{FULLNAME}-{component}"]
    return deployment["spec"]["template"]["spec"]


def test_the_schemas_in_the_chart_are_copies_of_the_one_source() -> None:
    """``make crds`` makes them so."""
    copies = {path.name: path.read_bytes() for path in (CHART / "files" / "crds").iterdir()}
    assert copies == {path.name: path.read_bytes() for path in CRDS.iterdir()}


def test_every_permission_is_granted_once_and_has_a_reason(chart: list[Manifest]) -> None:
    """Once: nothing else grants what a rule grants. Whether it is needed, a cluster says."""
    granted = permissions.granted(chart, namespace="aws-system")
    assert sorted(granted) == sorted(set(granted))
    assert sorted(permissions.documented()) == sorted(granted)


def test_every_role_is_bound_to_the_account_of_its_own_name(chart: list[Manifest]) -> None:
    bindings = of_kind(chart, "ClusterRoleBinding") | of_kind(chart, "RoleBinding")
    bound = {
        (b["roleRef"]["kind"], b["roleRef"]["name"]): [
            (s["kind"], s["namespace"], s["name"]) for s in b["subjects"]
        ]
        for b in bindings.values()
    }
    webhook = [("ServiceAccount", "aws-system", f"{FULLNAME}-webhook")]
    controller = [("ServiceAccount", "aws-system", f"{FULLNAME}-controller")]
    assert bound == {
        ("ClusterRole", f"aws-system-{FULLNAME}-webhook"): webhook,
        ("ClusterRole", f"aws-system-{FULLNAME}-controller"): controller,
        ("Role", f"{FULLNAME}-controller"): controller,
    }


def test_each_program_runs_as_its_own_account(chart: list[Manifest]) -> None:
    for component in ("webhook", "controller"):
        assert pod_spec(chart, component)["serviceAccountName"] == f"{FULLNAME}-{component}"
        assert f"{FULLNAME}-{component}" in of_kind(chart, "ServiceAccount")


@pytest.mark.parametrize("component", ["webhook", "controller"])
def test_the_pods_pass_pod_security_restricted(chart: list[Manifest], component: str) -> None:
    pod = pod_spec(chart, component)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
    assert all("secret" in volume for volume in pod.get("volumes", []))


@pytest.mark.parametrize("component", ["webhook", "controller"])
def test_the_pods_are_probed_and_their_appetite_is_bounded(
    chart: list[Manifest], component: str
) -> None:
    (container,) = pod_spec(chart, component)["containers"]
    for probe, path in {"livenessProbe": "/livez", "readinessProbe": "/readyz"}.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "probes"}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


def test_binding_a_role_takes_the_verb_assume_on_it(chart: list[Manifest]) -> None:
    (policy,) = of_kind(chart, "ValidatingAdmissionPolicy").values()
    (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
    # Neither the status, which the controller writes, nor deletion.
    assert rule["resources"] == ["rolesanywherebindings"]
    assert rule["operations"] == ["CREATE", "UPDATE"]
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert {v["name"]: v["expression"] for v in policy["spec"]["variables"]} == {
        "binds": "oldObject == null || object.spec != oldObject.spec",
        "mayAssume": "authorizer.group('rolesanywhere.dev').resource('awsroles')"
        " .namespace(request.namespace).name(object.spec.roleArn).check('assume').allowed()",
    }


def test_the_policy_on_bindings_is_in_force(chart: list[Manifest]) -> None:
    (policy,) = of_kind(chart, "ValidatingAdmissionPolicy")
    (binding,) = of_kind(chart, "ValidatingAdmissionPolicyBinding").values()
    assert binding["spec"] == {"policyName": policy, "validationActions": ["Deny"]}


def test_a_cluster_may_leave_the_policy_on_bindings_to_others() -> None:
    manifests = rendered(bindings={"requireAssume": False})
    assert not of_kind(manifests, "ValidatingAdmissionPolicy")
    assert not of_kind(manifests, "ValidatingAdmissionPolicyBinding")


def test_the_services_of_the_two_programs_are_told_apart(chart: list[Manifest]) -> None:
    (service,) = of_kind(chart, "Service").values()
    controller = of_kind(chart, "Deployment")[f"{FULLNAME}-controller"]
    labels = controller["spec"]["template"]["metadata"]["labels"]
    assert not service["spec"]["selector"].items() <= labels.items()


def test_the_controllers_lease_is_the_one_it_may_write(chart: list[Manifest]) -> None:
    (container,) = pod_spec(chart, "controller")["containers"]
    environment = {e["name"]: e.get("value") for e in container["env"]}
    (role,) = of_kind(chart, "Role").values()
    (rule,) = [rule for rule in role["rules"] if rule["resources"] == ["leases"]]
    assert rule["resourceNames"] == [environment["ROLESANYWHERE_OPERATOR_LEASE_NAME"]]


def test_the_controller_makes_the_certificate_for_the_services_name(chart: list[Manifest]) -> None:
    (container,) = pod_spec(chart, "controller")["containers"]
    environment = {e["name"]: e.get("value", "from-the-pod") for e in container["env"]}
    told = ControllerSettings.from_env(environment)
    assert told.webhook_hosts == frozenset({f"{FULLNAME}-webhook.aws-system.svc"})
    (configuration,) = of_kind(chart, "MutatingWebhookConfiguration").values()
    assert configuration["metadata"]["name"] == told.webhook_configuration
    assert "annotations" not in configuration["metadata"]
    # It is the controller's to say: a GitOps tool and an upgrade leave it alone.
    assert not any("caBundle" in one["clientConfig"] for one in configuration["webhooks"])
    assert not of_kind(chart, "Certificate")


def test_the_webhook_is_not_shown_the_key_of_its_authority(chart: list[Manifest]) -> None:
    (container,) = pod_spec(chart, "controller")["containers"]
    environment = {e["name"]: e.get("value", "") for e in container["env"]}
    (volume,) = pod_spec(chart, "webhook")["volumes"]
    assert volume["secret"]["secretName"] == environment["ROLESANYWHERE_OPERATOR_WEBHOOK_SECRET"]
    assert [item["key"] for item in volume["secret"]["items"]] == ["tls.crt", "tls.key"]


def test_cert_manager_makes_the_certificate_for_the_services_name() -> None:
    chart = rendered(webhook={"certificate": {"source": "certManager"}})
    certificate = of_kind(chart, "Certificate")[f"{FULLNAME}-webhook"]
    assert certificate["spec"]["dnsNames"] == [f"{FULLNAME}-webhook.aws-system.svc"]
    (volume,) = pod_spec(chart, "webhook")["volumes"]
    assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]
    (configuration,) = of_kind(chart, "MutatingWebhookConfiguration").values()
    assert configuration["metadata"]["annotations"] == {
        "cert-manager.io/inject-ca-from": f"aws-system/{FULLNAME}-webhook"
    }


def test_a_certificate_of_ones_own_needs_no_cert_manager() -> None:
    mine = {"source": "secret", "secretName": "mine", "caBundle": CA}
    manifests = rendered(webhook={"certificate": mine})
    assert not of_kind(manifests, "Certificate")
    assert not of_kind(manifests, "Issuer")
    (volume,) = pod_spec(manifests, "webhook")["volumes"]
    assert volume["secret"]["secretName"] == "mine"
    (configuration,) = of_kind(manifests, "MutatingWebhookConfiguration").values()
    assert "annotations" not in configuration["metadata"]
    bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"]
    assert b64decode(bundle).decode() == CA


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"webhook": {"certificate": {"source": "secret", "secretName": "mine"}}},
            "caBundle is not",
        ),
        ({"webhook": {"certificate": {"source": "secret", "caBundle": CA}}}, "secretName is not"),
        ({"webhook": {"certificate": {"secretName": "mine"}}}, "caBundle is not"),
        (
            {"webhook": {"certificate": {"source": "self", "secretName": "mine"}}},
            "source is self, which makes its own",
        ),
        ({"webhook": {"certificate": {"source": "certManager", "caBundle": CA}}}, "leave both"),
        ({"webhook": {"certificate": {"source": "self-made"}}}, "source"),
        ({"webhook": {"certificate": {"caBundle": "x", "secretName": "mine"}}}, "caBundle"),
        ({"webhook": {"replicas": 0}}, "replicas"),
        ({"webhok": {}}, "webhok"),
        ({"bindings": {"requireAssume": "no"}}, "requireAssume"),
        ({"logLevel": "loud"}, "logLevel"),
        ({"controller": {"leaseDurationSeconds": 1}}, "leaseDurationSeconds"),
    ],
)
def test_a_mistaken_value_is_refused_by_name(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HelmFailed, match=sentence):
        rendered(**values)


@pytest.mark.parametrize(
    ("component", "settings"), [("webhook", WebhookSettings), ("controller", ControllerSettings)]
)
def test_the_programs_understand_what_the_chart_tells_them(
    chart: list[Manifest], component: str, settings: type[Settings]
) -> None:
    (container,) = pod_spec(chart, component)["containers"]
    environment = {e["name"]: e.get("value", "from-the-pod") for e in container["env"]}
    assert environment.keys() <= {variable(setting) for setting in fields(settings)}
    told = settings.from_env(environment)
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    assert told.probe_port == ports["probes"]


def test_the_certificate_lies_where_the_webhook_looks_for_it(chart: list[Manifest]) -> None:
    (container,) = pod_spec(chart, "webhook")["containers"]
    environment = {e["name"]: e.get("value", "") for e in container["env"]}
    told = WebhookSettings.from_env(environment)
    (mount,) = container["volumeMounts"]
    assert {str(told.certificate), str(told.private_key)} == {
        f"{mount['mountPath']}/tls.crt", f"{mount['mountPath']}/tls.key",
    }  # fmt: skip


def test_one_tag_is_both_images_tag() -> None:
    manifests = rendered(images={"operator": "r.example/op", "sidecar": "r.example/sc", "tag": "9"})
    (webhook,) = pod_spec(manifests, "webhook")["containers"]
    (controller,) = pod_spec(manifests, "controller")["containers"]
    assert webhook["image"] == controller["image"] == "r.example/op:9"
    environment = {e["name"]: e.get("value") for e in webhook["env"]}
    assert environment["ROLESANYWHERE_OPERATOR_SIDECAR_IMAGE"] == "r.example/sc:9"


@pytest.mark.parametrize(
    ("replicas", "quota", "turns"), [(2, 10, "270"), (3, 10, "180"), (1, 50, "2700"), (2, 0, "0")]
)
def test_the_replicas_share_the_quota_but_for_a_tenth(
    replicas: int, quota: int, turns: str
) -> None:
    manifests = rendered(webhook={"replicas": replicas, "sessionsPerSecond": quota})
    (webhook,) = pod_spec(manifests, "webhook")["containers"]
    environment = {e["name"]: e.get("value") for e in webhook["env"]}
    assert environment["ROLESANYWHERE_OPERATOR_TURNS_PER_MINUTE"] == turns


def test_pull_secrets_reach_both_pods() -> None:
    manifests = rendered(images={"pullSecrets": ["registry"]})
    for component in ("webhook", "controller"):
        assert pod_spec(manifests, component)["imagePullSecrets"] == [{"name": "registry"}]
