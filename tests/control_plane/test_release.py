"""The chart's whole life in a real API server: installed, upgraded, uninstalled, installed again.

A control plane of its own, because a schema comes and goes. Nothing runs: there is no node.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
import yaml

from tests.chart.helm import CHART, FULLNAME, RELEASE, Helm, HelmFailed
from tests.chart.matrix import everything
from tests.cluster.binaries import Binaries
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubectl import PATIENCE, KubectlFailed
from tests.cluster.release import CRD
from tests.operator.builders import a_raw_binding
from tests.support.waiting import eventually

OLDER: Final = Path(__file__).parents[1] / "chart" / "older"
CA: Final = "-----BEGIN CERTIFICATE-----\nbm90IHJlYWxseQ==\n-----END CERTIFICATE-----\n"
# As it comes, and what needs neither cert-manager nor a Prometheus operator in the cluster.
GIVEN: Final[dict[str, Any]] = {
    "networkPolicy": {"enabled": True},
    "controller": {"podDisruptionBudget": {"enabled": True}},
}
# What a release makes, besides its schema.
KINDS: Final = ",".join(
    (
        "clusterroles", "clusterrolebindings", "mutatingwebhookconfigurations",
        "validatingadmissionpolicies", "validatingadmissionpolicybindings", "deployments",
        "services", "serviceaccounts", "roles", "rolebindings", "poddisruptionbudgets",
        "networkpolicies",
    )
)  # fmt: skip


ATTEMPTS: Final = [
    "inject.rolesanywhere.dev",
    "first-half.inject.rolesanywhere.dev",
    "second-half.inject.rolesanywhere.dev",
]


@dataclass(frozen=True)
class Cluster:
    """What an administrator does with Helm, and looks at with kubectl."""

    control_plane: ControlPlane
    helm: Helm
    namespace: str

    def install(
        self, *arguments: str | Path, chart: Path = CHART, values: dict[str, Any] = GIVEN
    ) -> str:
        here = (f"--namespace={self.namespace}", "--create-namespace")
        return self.helm("install", RELEASE, chart, *here, *arguments, values=values)

    def upgrade(
        self, *arguments: str | Path, chart: Path = CHART, values: dict[str, Any] | None = None
    ) -> str:
        here = ("upgrade", RELEASE, chart, f"--namespace={self.namespace}")
        return self.helm(*here, *arguments, values=values)

    def uninstall(self) -> None:
        if RELEASE in self.helm("list", "--short", f"--namespace={self.namespace}"):
            self.helm("uninstall", RELEASE, f"--namespace={self.namespace}")

    def objects(self) -> dict[str, dict[str, Any]]:
        """What is there of the release, by kind and name."""
        found = self.control_plane.kubectl.get(
            KINDS,
            f"--namespace={self.namespace}",
            f"--selector=app.kubernetes.io/instance={RELEASE}",
        )
        return {f"{item['kind']}/{item['metadata']['name']}": item for item in found["items"]}

    def crd(self) -> dict[str, Any]:
        found: dict[str, Any] = self.control_plane.kubectl.get("crd", CRD_NAME)
        return found

    def knows_bindings(self) -> None:
        """Return once bindings can be made, which is a moment after the schema was."""
        kubectl = self.control_plane.kubectl
        kubectl("wait", "--for=condition=Established", f"crd/{CRD_NAME}", PATIENCE)
        eventually("bindings are served", self._serves_bindings)

    def _serves_bindings(self) -> bool:
        try:
            self.bindings()
        except KubectlFailed:
            return False
        return True

    def bind(self, name: str) -> None:
        binding = a_raw_binding(name, "default")
        del binding["metadata"]["generation"]
        self.control_plane.kubectl("create", "--filename=-", input=json.dumps(binding))

    def bindings(self) -> list[str]:
        found = self.control_plane.kubectl.get("rab", "--all-namespaces")
        return [item["metadata"]["name"] for item in found["items"]]


CRD_NAME: Final = "rolesanywherebindings.rolesanywhere.dev"


@pytest.fixture(scope="module")
def empty_cluster(
    cluster_binaries: Binaries, helm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    with ControlPlane.start(cluster_binaries, controllers=True) as started:
        home = tmp_path_factory.mktemp("helm")
        yield Cluster(started, Helm(helm, home, started.admin_kubeconfig), "default")


@pytest.fixture
def cluster(empty_cluster: Cluster) -> Iterator[Cluster]:
    """Nothing of us is in it, before and after; a namespace is too slow to go to be used again."""
    fresh = replace(empty_cluster, namespace=f"aws-{uuid4().hex[:8]}")
    yield fresh
    fresh.uninstall()
    kubectl = fresh.control_plane.kubectl
    kubectl("delete", "crd", CRD_NAME, "--ignore-not-found", "--wait=true", PATIENCE)
    kubectl("delete", "namespace", fresh.namespace, "--ignore-not-found", "--wait=false")


def spec(manifest: dict[str, Any]) -> Any:
    return manifest.get("spec") or manifest.get("webhooks") or manifest.get("rules")


def test_a_release_comes_goes_and_comes_back_and_the_bindings_stay(cluster: Cluster) -> None:
    assert "rollout status" in cluster.install()
    first = cluster.objects()
    assert f"Deployment/{FULLNAME}-webhook" in first
    # One of each kind that was asked for.
    assert {name.partition("/")[0] for name in first} == {
        "ClusterRole", "ClusterRoleBinding", "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "Deployment", "Service",
        "ServiceAccount", "Role", "RoleBinding", "PodDisruptionBudget", "NetworkPolicy",
    }  # fmt: skip
    cluster.knows_bindings()
    cluster.bind("reports")
    cluster.uninstall()
    eventually("nothing is left", lambda: not cluster.objects())
    assert cluster.bindings() == ["reports"]
    cluster.install()
    assert cluster.objects().keys() == first.keys()
    assert cluster.bindings() == ["reports"]


def test_an_upgrade_to_the_same_changes_nothing(cluster: Cluster) -> None:
    cluster.install()
    before = {name: spec(item) for name, item in cluster.objects().items()}
    crd = cluster.crd()["metadata"]["generation"]
    cluster.upgrade("--reuse-values")
    cluster.upgrade(values=GIVEN)
    assert {name: spec(item) for name, item in cluster.objects().items()} == before
    assert cluster.crd()["metadata"]["generation"] == crd


def test_an_upgrade_keeps_the_authority_that_others_wrote(cluster: Cluster) -> None:
    """cert-manager's injector, or the controller: Helm must not take back what it did not say."""
    cluster.install()
    [name] = [n for n in cluster.objects() if n.startswith("MutatingWebhookConfiguration/")]
    theirs = b64encode(CA.replace("bm90", "aWth").encode()).decode()
    patch = [
        {"op": "add", "path": f"/webhooks/{number}/clientConfig/caBundle", "value": theirs}
        for number in range(3)
    ]
    cluster.control_plane.kubectl("patch", name, "--type=json", f"--patch={json.dumps(patch)}")
    cluster.upgrade("--reuse-values", "--set=webhook.timeoutSeconds=9")
    webhooks = cluster.objects()[name]["webhooks"]
    assert [webhook["timeoutSeconds"] for webhook in webhooks] == [3, 3, 3]
    assert [webhook["clientConfig"]["caBundle"] for webhook in webhooks] == [theirs] * 3


def test_a_release_of_one_attempt_is_upgraded_to_several_in_their_order(cluster: Cluster) -> None:
    """What is asked first has to stay the first; what it trusts is the controller's to say."""
    cluster.install("--set=webhook.replicas=1")
    [name] = [n for n in cluster.objects() if n.startswith("MutatingWebhookConfiguration/")]
    one = [webhook["name"] for webhook in cluster.objects()[name]["webhooks"]]
    patch = [
        {
            "op": "add",
            "path": "/webhooks/0/clientConfig/caBundle",
            "value": b64encode(CA.encode()).decode(),
        }
    ]
    cluster.control_plane.kubectl("patch", name, "--type=json", f"--patch={json.dumps(patch)}")
    for replicas, expected in ((3, ATTEMPTS), (1, one), (2, ATTEMPTS)):
        cluster.upgrade("--reuse-values", f"--set=webhook.replicas={replicas}")
        webhooks = cluster.objects()[name]["webhooks"]
        assert [webhook["name"] for webhook in webhooks] == expected
        assert webhooks[0]["clientConfig"]["caBundle"]
    assert one == ATTEMPTS[:1]


def test_an_upgrade_brings_a_newer_schema(cluster: Cluster, tmp_path: Path) -> None:
    older = tmp_path / "chart"
    _copy(CHART, older)
    schema = older / "files" / "crds" / CRD.name
    document = yaml.safe_load(schema.read_text())
    document["spec"]["names"].pop("shortNames")
    schema.write_text(yaml.safe_dump(document))
    cluster.install(chart=older)
    assert "shortNames" not in cluster.crd()["spec"]["names"]
    cluster.upgrade("--reuse-values")
    assert cluster.crd()["spec"]["names"]["shortNames"] == ["rab"]


@pytest.mark.parametrize("values", sorted(OLDER.iterdir()), ids=lambda path: path.stem)
def test_a_release_with_the_values_of_an_older_chart_is_upgraded(
    cluster: Cluster, values: Path, tmp_path: Path
) -> None:
    older = tmp_path / "chart"
    _copy(CHART, older)
    (older / "values.yaml").write_bytes(values.read_bytes())
    # Without what came later, and so without what refuses it.
    (older / "values.schema.json").unlink()
    certificate = {"secretName": "given", "caBundle": CA}
    theirs = {"webhook": {"certificate": certificate, "replicas": 3}}
    cluster.install(chart=older, values=theirs)
    cluster.upgrade("--reuse-values", "--set=logLevel=debug")
    halves = [
        one["spec"] for name, one in cluster.objects().items()
        if name.startswith(f"Deployment/{FULLNAME}-webhook")
    ]  # fmt: skip
    assert [half["replicas"] for half in halves] == [2, 1]
    for half in halves:
        [container] = half["template"]["spec"]["containers"]
        assert {"name": "ROLESANYWHERE_OPERATOR_LOG_LEVEL", "value": "debug"} in container["env"]
    assert "ValidatingAdmissionPolicy" in {name.partition("/")[0] for name in cluster.objects()}


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())


def test_no_value_that_is_taken_away_takes_the_bindings_with_it(cluster: Cluster) -> None:
    cluster.install()
    cluster.knows_bindings()
    cluster.bind("reports")
    cluster.upgrade("--reuse-values", "--set=crds.install=false")
    assert cluster.bindings() == ["reports"]


def test_a_schema_that_is_there_already_is_taken_over_or_left_alone(cluster: Cluster) -> None:
    cluster.control_plane.apply(CRD.read_text())
    with pytest.raises(HelmFailed, match="cannot be imported into the current release"):
        cluster.install()
    cluster.install(values={**GIVEN, "crds": {"install": False}})
    assert "labels" not in cluster.crd()["metadata"]
    cluster.uninstall()
    cluster.install("--take-ownership")
    assert cluster.crd()["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_two_releases_share_a_cluster_but_not_the_schema(cluster: Cluster) -> None:
    cluster.install()
    theirs = {**GIVEN, "crds": {"install": False}}
    other = ("blue", CHART, "--namespace=blue-system", "--create-namespace")
    cluster.helm("install", *other, values=theirs)
    cluster.helm("uninstall", "blue", "--namespace=blue-system")
    assert f"Deployment/{FULLNAME}-webhook" in cluster.objects()


def test_the_pods_run_where_pod_security_is_restricted(cluster: Cluster) -> None:
    kubectl = cluster.control_plane.kubectl
    # From its first moment: a label that comes later is in force later still.
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    restricted = {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": cluster.namespace, "labels": labels},
    }  # fmt: skip
    kubectl("create", "--filename=-", input=json.dumps(restricted))
    cluster.install()
    for component in ("webhook", "controller"):
        deployment = cluster.objects()[f"Deployment/{FULLNAME}-{component}"]
        template = deployment["spec"]["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        pod["metadata"] = {**template["metadata"], "name": component}
        made = create_pod(cluster, pod)
        assert made["spec"]["priority"] == (2_000_000_000 if component == "webhook" else 0)
        careless = json.loads(json.dumps(pod))
        careless["spec"]["containers"][0]["securityContext"].pop("capabilities")
        with pytest.raises(KubectlFailed, match="violates PodSecurity"):
            create_pod(cluster, careless)


def create_pod(cluster: Cluster, pod: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(
        cluster.control_plane.kubectl(
            "create", "--filename=-", "--dry-run=server", "--output=json",
            f"--namespace={cluster.namespace}", input=json.dumps(pod),
        )
    )  # fmt: skip
    return made


def test_with_every_value_set_the_api_server_takes_each_object(cluster: Cluster) -> None:
    """Strictly: a field that the API server does not know would be an error."""
    values = everything()
    # What takes no schema of others.
    values["monitoring"] = {"dashboard": {"enabled": True}}
    values["webhook"]["certificate"] = {"source": "self"}
    values["webhook"]["affinity"] = values["controller"]["affinity"] = {}
    values["rbac"] = {"create": True}
    # What a rendering does not mind, and the API server does.
    values["pkcs11Server"] |= {"namespace": cluster.namespace}
    spread = {
        "maxSkew": 1,
        "labelSelector": {"matchLabels": {"team": "platform"}},
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
    }
    for component in ("webhook", "controller"):
        values[component] |= {"topologySpreadConstraints": [spread], "resources": {}}
    helm = replace(cluster.helm, kubeconfig=Path("/dev/null"))
    text = helm("template", RELEASE, CHART, f"--namespace={cluster.namespace}", values=values)
    cluster.control_plane.kubectl("create", "namespace", cluster.namespace)
    cluster.control_plane.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-",
        input=text,
    )  # fmt: skip
