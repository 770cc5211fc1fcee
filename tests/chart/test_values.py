"""The values of the chart: what each combination renders, what is refused, and what is told."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.chart import table
from tests.chart.helm import CHART, FULLNAME, RELEASE, Helm, HelmFailed, Manifest, render
from tests.chart.matrix import EVERY_MONITOR, MATRIX, SCHEDULING, everything
from tests.cluster.binaries import find_or_build_helm
from tests.support.tools import build_or_skip

OLDER: Final = Path(__file__).parent / "older"


EVERY: Final = {**MATRIX, "everything": everything()}
EACH: Final = pytest.mark.parametrize("named", EVERY)


@cache
def text(helm: Path, named: str) -> str:
    """What Helm makes of a set of values, rendered once."""
    run = Helm(helm, home=Path("/nonexistent"))
    return run("template", RELEASE, CHART, "--namespace=aws-system", values=EVERY[named])


def objects(helm: Path, named: str) -> list[Manifest]:
    return [found for found in yaml.safe_load_all(text(helm, named)) if found]


@pytest.fixture(scope="module")
def helm() -> Path:
    return build_or_skip(find_or_build_helm)


@EACH
def test_helm_finds_nothing_to_complain_of(helm: Path, tmp_path: Path, named: str) -> None:
    said = Helm(helm, home=tmp_path)("lint", "--strict", CHART, values=EVERY[named])
    assert "0 chart(s) failed" in said
    # Only that the chart has no picture.
    assert [line for line in said.splitlines() if line.startswith("[") and "icon" not in line] == []


@EACH
def test_what_is_rendered_is_the_same_every_time(helm: Path, named: str) -> None:
    """Nothing by chance, by time or by looking into the cluster: a GitOps tool sees no drift."""
    assert text(helm, named) == text.__wrapped__(helm, named)


@EACH
def test_every_object_is_known_by_the_labels_of_its_kind(helm: Path, named: str) -> None:
    for manifest in objects(helm, named):
        metadata = manifest["metadata"]
        told = {
            name.removeprefix("app.kubernetes.io/"): value
            for name, value in metadata["labels"].items()
            if name.startswith("app.kubernetes.io/")
        }
        who = f"{manifest['kind']} {metadata['name']}"
        assert told.pop("component"), who
        assert told == {
            "name": "rolesanywhere",
            "instance": RELEASE,
            "version": "0.1.0",
            "part-of": "rolesanywhere",
            "managed-by": "Helm",
        }, who
        assert EVERY[named].get("commonLabels", {}).items() <= metadata["labels"].items(), who


@EACH
def test_no_two_objects_have_one_name(helm: Path, named: str) -> None:
    names = [
        (m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"])
        for m in objects(helm, named)
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("older", sorted(OLDER.iterdir()), ids=lambda path: path.stem)
def test_the_values_of_an_older_release_still_mean_the_same(
    helm: Path, older: Path, tmp_path: Path
) -> None:
    """``helm upgrade --reuse-values`` brings them instead of the chart's own."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    shutil.copy(older, chart / "values.yaml")
    # Defaults that have changed since, and keep what they were.
    said = {
        "controller": {"leaseDurationSeconds": 10},
        "webhook": {"certificate": {"source": "self"}},
    }
    assert render(helm, namespace="aws-system", values=said, chart=chart) == [
        without_priority(m) for m in render(helm, namespace="aws-system")
    ]


def without_priority(manifest: Manifest) -> Manifest:
    """An upgrade does not give running pods another priority by itself."""
    spec = manifest.get("spec", {}).get("template", {}).get("spec", {})
    spec.pop("priorityClassName", None)
    return manifest


def pod_of(manifests: list[Manifest], component: str) -> Any:
    [deployment] = [
        m for m in manifests
        if m["kind"] == "Deployment" and m["metadata"]["name"].endswith(component)
    ]  # fmt: skip
    return deployment["spec"]["template"]


@pytest.mark.parametrize("component", ["webhook", "controller"])
def test_where_and_how_the_pods_run_is_the_users_to_say(helm: Path, component: str) -> None:
    pod = pod_of(
        render(helm, namespace="aws-system", values={component: SCHEDULING}), f"-{component}"
    )
    spec = pod["spec"]
    [container] = spec["containers"]
    for name in ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints"):
        assert spec[name] == SCHEDULING[name]
    assert spec["priorityClassName"] == "important"
    assert pod["metadata"]["annotations"] == {"scrape": "yes"}
    assert pod["metadata"]["labels"]["team"] == "platform"
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "rolesanywhere"
    assert SCHEDULING["extraEnv"][0] in container["env"]
    assert SCHEDULING["extraVolumes"][0] in spec["volumes"]
    assert SCHEDULING["extraVolumeMounts"][0] in container["volumeMounts"]
    assert container["livenessProbe"] == {
        "httpGet": {"path": "/livez", "port": "probes"},
        "periodSeconds": 10,
        "timeoutSeconds": 7,
    }
    assert container["resources"]["requests"]["cpu"] == 1
    assert "limits" not in container["resources"]


def test_openshift_may_choose_the_user_itself(helm: Path) -> None:
    nobody = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    manifests = render(helm, namespace="aws-system", values={"podSecurityContext": nobody})
    assert pod_of(manifests, "-webhook")["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize(
    ("images", "operator"),
    [
        ({}, "rolesanywhere-operator:0.1.0"),
        ({"tag": "1"}, "rolesanywhere-operator:1"),
        ({"registry": "r.example:5000/aws/"}, "r.example:5000/aws/rolesanywhere-operator:0.1.0"),
        (
            {"tag": "1", "digests": {"operator": f"sha256:{'0' * 64}"}},
            f"rolesanywhere-operator@sha256:{'0' * 64}",
        ),
    ],
)
def test_an_image_is_named_as_the_registry_knows_it(
    helm: Path, images: dict[str, Any], operator: str
) -> None:
    manifests = render(helm, namespace="aws-system", values={"images": images})
    for component in ("-webhook", "-controller"):
        assert pod_of(manifests, component)["spec"]["containers"][0]["image"] == operator


def test_a_parent_charts_registry_and_pull_secrets_win(helm: Path) -> None:
    manifests = render(
        helm,
        namespace="aws-system",
        values={"images": {"registry": "mine", "pullSecrets": ["mine"]}}
        | MATRIX["from a parent chart"],
    )
    spec = pod_of(manifests, "-webhook")["spec"]
    assert spec["containers"][0]["image"] == "r.example/rolesanywhere-operator:0.1.0"
    assert spec["imagePullSecrets"] == [{"name": "r"}, {"name": "mine"}]


def test_the_schema_of_bindings_outlives_the_release(helm: Path) -> None:
    [crd] = render(helm, namespace="aws-system", only=["crds.yaml"])
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    theirs = {"crds": {"annotations": {"helm.sh/resource-policy": "delete", "note": "x"}}}
    [crd] = render(helm, namespace="aws-system", only=["crds.yaml"], values=theirs)
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep", "note": "x"}


def test_the_network_lets_through_what_the_programs_need_and_no_more(helm: Path) -> None:
    policies = {
        m["metadata"]["name"]: m
        for m in render(helm, namespace="aws-system", values={"networkPolicy": {"enabled": True}})
        if m["kind"] == "NetworkPolicy"
    }
    webhook, controller = (policies[f"{FULLNAME}-{c}"]["spec"] for c in ("webhook", "controller"))
    assert [rule["ports"] for rule in webhook["ingress"]] == [
        [{"port": 9443, "protocol": "TCP"}], [{"port": "probes", "protocol": "TCP"}],
    ]  # fmt: skip
    assert [rule["ports"] for rule in controller["ingress"]] == [
        [{"port": "probes", "protocol": "TCP"}]
    ]
    for spec in (webhook, controller):
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert [[port["port"] for port in rule["ports"]] for rule in spec["egress"]] == [
            [443, 6443], [53, 53],
        ]  # fmt: skip


def test_prometheus_and_grafana_are_given_what_they_look_for(helm: Path) -> None:
    manifests = render(helm, namespace="aws-system", values={"monitoring": EVERY_MONITOR})
    found = {(m["kind"], m["metadata"]["name"]): m for m in manifests}
    monitor = found["ServiceMonitor", FULLNAME]
    [endpoint] = monitor["spec"]["endpoints"]
    selected = [
        m for (kind, _), m in found.items()
        if kind == "Service"
        and monitor["spec"]["selector"]["matchLabels"].items() <= m["metadata"]["labels"].items()
    ]  # fmt: skip
    assert {m["metadata"]["labels"]["app.kubernetes.io/component"] for m in selected} == {
        "webhook",
        "controller",
    }
    for service in selected:
        assert [port["name"] for port in service["spec"]["ports"]] == [endpoint["port"]]
    rule = found["PrometheusRule", FULLNAME]
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    dashboard = found["ConfigMap", f"{FULLNAME}-dashboard"]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    [text] = dashboard["data"].values()
    assert json.loads(text) == json.loads((CHART / "files" / "dashboard.json").read_text())
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert found[kind, FULLNAME]["metadata"]["labels"]["release"] == "prometheus"


def test_without_being_asked_for_nothing_needs_prometheus(helm: Path) -> None:
    kinds = {m["apiVersion"] for m in render(helm, namespace="aws-system")}
    assert not any("monitoring" in kind for kind in kinds)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"webhok": {}}, "at '': additional properties 'webhok' not allowed"),
        (
            {"webhook": {"replica": 2}},
            "at '/webhook': additional properties 'replica' not allowed",
        ),
        ({"webhook": {"replicas": 0}}, "at '/webhook/replicas': minimum: got 0, want 1"),
        ({"webhook": {"replicas": "2"}}, "at '/webhook/replicas': got string, want integer"),
        ({"webhook": {"timeoutSeconds": 31}}, "at '/webhook/timeoutSeconds': maximum: got 31"),
        ({"webhook": {"failurePolicy": "fail"}}, "must be one of 'Fail', 'Ignore'"),
        ({"webhook": {"nodeSelector": {"a": 1}}}, "at '/webhook/nodeSelector/a': got number"),
        ({"webhook": {"podAnnotations": {"a": True}}}, "at '/webhook/podAnnotations/a'"),
        ({"webhook": {"extraEnv": {"A": "b"}}}, "at '/webhook/extraEnv': got object, want array"),
        ({"webhook": {"extraEnv": [{"value": "b"}]}}, "missing property 'name'"),
        ({"webhook": {"readinessProbe": {"httpGet": {}}}}, "'httpGet' not allowed"),
        ({"webhook": {"port": 0}}, "at '/webhook/port': minimum"),
        ({"webhook": {"podDisruptionBudget": {"minAvailable": "some"}}}, "minAvailable"),
        ({"controller": {"leaseDurationSeconds": 1}}, "minimum: got 1, want 3"),
        ({"logLevel": "loud"}, "must be one of 'debug', 'info', 'warning', 'error'"),
        ({"sidecar": {"logLevel": "loud"}}, "at '/sidecar/logLevel': value must be one of"),
        ({"sidecar": {"resources": {"limit": {}}}}, "'limit' not allowed"),
        ({"sidecar": {"resources": {"limits": {"mem": "1Gi"}}}}, "'mem' not allowed"),
        (
            {"sidecar": {"resources": {"limits": {"memory": "1GB"}}}},
            "at '/sidecar/resources/limits/memory'",
        ),
        ({"sidecar": {"proxy": {"url": "socks5://proxy"}}}, "at '/sidecar/proxy/url': 'socks5:"),
        ({"sidecar": {"proxy": {"url": "proxy.example:3128"}}}, "at '/sidecar/proxy/url'"),
        (
            {"sidecar": {"proxy": {"url": "http://[fd00::1]:65536/"}}},
            "sidecar.proxy.url: its port is too high: 65535 is the highest",
        ),
        ({"sidecar": {"proxy": {"URL": "http://proxy"}}}, "'URL' not allowed"),
        (
            {"sidecar": {"proxy": {"url": "http://proxy", "noProxy": ["a,b"]}}},
            "at '/sidecar/proxy/noProxy/0': 'a,b' does not match",
        ),
        (
            {"sidecar": {"proxy": {"url": "http://svc:hunter2@proxy.example"}}},
            "sidecar.proxy.url: holds a user or a password, and a secret does not belong into"
            " values: put the URL into a Secret of each namespace with bindings, and name that in"
            " sidecar.proxy.urlSecretRef",
        ),
        (
            {"sidecar": {"proxy": {"urlSecretRef": {"name": "proxy"}}}},
            "sidecar.proxy.urlSecretRef: name or key is not set: name the Secret and its key",
        ),
        (
            {"sidecar": {"proxy": {"url": "http://a", "urlSecretRef": {"name": "b", "key": "c"}}}},
            "sidecar.proxy: url and urlSecretRef are set: leave one of them empty",
        ),
        (
            {"sidecar": {"proxy": {"noProxy": [".corp.example"]}}},
            "sidecar.proxy.noProxy: is set, and there is no proxy: set url or urlSecretRef",
        ),
        (
            {"sidecar": {"caBundle": {"configMap": {"name": "A_b"}}}},
            "at '/sidecar/caBundle/configMap/name'",
        ),
        (
            {"sidecar": {"caBundle": {"configMap": {"name": "a", "key": "b/c"}}}},
            "at '/sidecar/caBundle/configMap/key'",
        ),
        ({"bindings": {"requireAssume": "no"}}, "at '/bindings/requireAssume': got string"),
        ({"images": {"pullSecrets": [{"name": "x"}]}}, "at '/images/pullSecrets/0': got object"),
        ({"images": {"digests": {"operator": "abc"}}}, "at '/images/digests/operator'"),
        ({"images": {"registry": "https://r.example"}}, "at '/images/registry'"),
        ({"images": {"operator": ""}}, "at '/images/operator'"),
        ({"networkPolicy": {"apiServerPorts": []}}, "at '/networkPolicy/apiServerPorts'"),
        ({"monitoring": {"serviceMonitor": {"interval": 30}}}, "got number, want string"),
        ({"monitoring": {"prometheusrule": {}}}, "'prometheusrule' not allowed"),
        ({"fullnameOverride": "Not A Name"}, "at '/fullnameOverride'"),
        ({"trustDomain": "spiffe://x"}, "at '/trustDomain'"),
    ],
    ids=lambda given: json.dumps(given)[:60] if isinstance(given, dict) else "",
)
def test_a_mistaken_value_is_told_with_its_place(
    helm: Path, values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(HelmFailed, match=re.escape(sentence)):
        render(helm, namespace="aws-system", values=values)


def test_a_proxys_password_is_not_repeated_in_the_refusal(helm: Path) -> None:
    """Nor in what a pipeline keeps of it."""
    for url in ("http://svc:hunter2@proxy.example", "svc:hunter2@proxy", "socks5://svc:hunter2@x"):
        with pytest.raises(HelmFailed, match="a secret does not belong into values") as caught:
            render(helm, namespace="aws-system", values={"sidecar": {"proxy": {"url": url}}})
        assert "hunter2" not in str(caught.value)


def schemas(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, below in schema.get("properties", {}).items():
        yield f"{path}/{name}", below
        yield from schemas(below, f"{path}/{name}")


def test_every_value_has_a_title_and_is_in_the_chart() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    free = ("resources", "global")  # what is in them is Kubernetes' or a parent chart's to say
    for path, known in schemas(schema):
        if any(f"/{name}" in path for name in free):
            continue
        assert known.get("title"), path
        here: Any = values
        for step in path.strip("/").split("/"):
            assert step in here, f"{path} is in the schema, and not in values.yaml"
            here = here[step]
        if known.get("type") == "object":
            closed = known.get("additionalProperties") is False
            assert closed or "properties" not in known, f"{path} takes anything"


def test_the_documentation_lists_every_value() -> None:
    """``python -m tests.chart.table`` writes the table."""
    page = table.PAGE.read_text()
    written = page.partition(table.BEGIN)[2].partition(table.END)[0]
    assert written == table.table()
