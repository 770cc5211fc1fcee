"""What the chart renders: permissions to the letter, pods that are restricted, a safe webhook."""

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import fields
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


def test_two_webhooks_run_and_one_of_them_survives_a_drain(chart: list[Manifest]) -> None:
    (budget,) = of_kind(chart, "PodDisruptionBudget").values()
    assert [one["spec"]["replicas"] for one in halves(chart)] == [1, 1]
    assert budget["spec"]["maxUnavailable"] == 1
    for one in halves(chart):
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


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
    assert not any("caBundle" in entry["clientConfig"] for entry in attempts(chart))
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
