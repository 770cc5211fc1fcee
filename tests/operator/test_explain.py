"""``explain``: a folder under ``explained`` is the spec, its exit code in the file's name.

The golden folders of injection hold it to the webhook's own decisions.
"""

import argparse
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_operator.cli import explain
from rolesanywhere_operator.cli.answers import Answer, UnusableInput
from rolesanywhere_operator.cli.sources import Surroundings
from rolesanywhere_operator.domain import explanation, workloads
from rolesanywhere_operator.domain.explanation import Setup
from rolesanywhere_operator.domain.workloads import MisshapenManifest
from rolesanywhere_operator.kube.errors import KubeError
from tests.operator.builders import DEFAULTS, IMAGE, PKCS11_IMAGE, a_container, a_pod, a_raw_binding

IMAGES = (f"--sidecar-image={IMAGE}", f"--sidecar-pkcs11-image={PKCS11_IMAGE}")
EXPLAINED = sorted((Path(__file__).parent / "explained").iterdir())
GOLDEN = sorted((Path(__file__).parent / "golden").iterdir())


def name_of(case: Path) -> str:
    return case.name


def answer(*arguments: str | Path, stdin: str = "", env: Mapping[str, str] | None = None) -> Answer:
    parser = argparse.ArgumentParser()
    explain.add_arguments(parser)
    around = Surroundings(env or {}, Path("/nowhere"), lambda: stdin)
    return explain.answer(parser.parse_args([*map(str, arguments), *IMAGES]), around)


def explained(*manifests: Any, arguments: tuple[str, ...] = ()) -> Answer:
    return answer("-f", "-", *arguments, stdin=yaml.safe_dump_all(manifests))


def as_data(*manifests: Any) -> Any:
    return json.loads(explained(*manifests, arguments=("-o", "json")).output)


def allowed(case: Path) -> list[str]:
    paths = case / "allowed.yaml"
    listed = yaml.safe_load(paths.read_text()) if paths.exists() else []
    return [f"--host-path={path}" for path in listed]


def setup_of(case: Path) -> list[str]:
    chosen = case / "defaults.yaml"
    given = yaml.safe_load(chosen.read_text()) if chosen.exists() else {}
    return [
        f"--sidecar-{name.replace('_', '-')}={one if isinstance(one, str) else json.dumps(one)}"
        for name, one in given.items()
    ]


@pytest.mark.parametrize("case", EXPLAINED, ids=name_of)
def test_a_pod_is_explained_in_these_words(case: Path) -> None:
    [golden] = case.glob("exit-*.txt")
    told = answer("-f", case / "pod.yaml", "-f", case / "binding.yaml", *allowed(case))
    assert told.output == golden.read_text()
    assert f"exit-{told.code}" == golden.stem
    assert told.remarks == ""


@pytest.mark.parametrize("case", EXPLAINED, ids=name_of)
def test_an_explanation_fits_a_terminal(case: Path) -> None:
    [golden] = case.glob("exit-*.txt")
    assert max(map(len, golden.read_text().splitlines())) <= 80


@pytest.mark.parametrize("case", GOLDEN, ids=name_of)
def test_what_is_explained_is_what_the_webhook_does(case: Path) -> None:
    files = ("-f", case / "pod.yaml", "-f", case / "binding.yaml", "-n", "team-a")
    told = answer(*files, *allowed(case), *setup_of(case), "-o", "json")
    data = json.loads(told.output)
    if (case / "injected.yaml").exists():
        assert told.code == 0
        assert data["pod"] == yaml.safe_load((case / "injected.yaml").read_text())
    else:
        assert told.code == 1
        assert f"{data['reason']}: {data['sentence']}\n" == (case / "refused.txt").read_text()
        assert "pod" not in data


def test_yaml_and_json_say_the_same() -> None:
    manifests = (a_pod(), a_raw_binding(namespace="default"))
    in_yaml = explained(*manifests, arguments=("-o", "yaml"))
    assert list(yaml.safe_load_all(in_yaml.output)) == [as_data(*manifests)]


def test_a_patch_is_written_where_there_is_one_and_else_the_reason_beside_it() -> None:
    binding = a_raw_binding(namespace="default")
    yes = explained(a_pod(), binding, arguments=("-o", "patch"))
    assert {operation["op"] for operation in json.loads(yes.output)} == {"add"}
    assert yes.remarks == ""
    no = explained(a_pod(hostNetwork=True), binding, arguments=("-o", "patch"))
    assert (no.code, no.output) == (1, "")
    assert "refused, HostNetwork" in no.remarks


def the_sidecar(told: Answer) -> Any:
    return json.loads(told.output)["pod"]["spec"]["initContainers"][0]


RESOURCES = {"limits": {"memory": "1Gi"}, "requests": {"cpu": "1"}}
SET_UP = {
    "ROLESANYWHERE_OPERATOR_SIDECAR_RESOURCES": json.dumps(RESOURCES),
    "ROLESANYWHERE_OPERATOR_SIDECAR_LOG_LEVEL": "warning",
}


def test_in_the_webhooks_own_pod_sidecars_are_explained_as_it_makes_them() -> None:
    stdin = yaml.safe_dump_all([a_pod(), a_raw_binding(namespace="default")])
    sidecar = the_sidecar(answer("-f", "-", "-o", "json", stdin=stdin, env=SET_UP))
    assert sidecar["resources"] == RESOURCES
    assert {"name": "ROLESANYWHERE_LOG_LEVEL", "value": "warning"} in sidecar["env"]
    flags = ("--sidecar-log-level=error", '--sidecar-resources={"limits": {"memory": "2Gi"}}')
    sidecar = the_sidecar(answer("-f", "-", "-o", "json", *flags, stdin=stdin, env=SET_UP))
    assert sidecar["resources"] == {"limits": {"memory": "2Gi"}}
    assert {"name": "ROLESANYWHERE_LOG_LEVEL", "value": "error"} in sidecar["env"]


def test_every_flag_of_the_webhooks_setup_that_makes_no_sense_is_named() -> None:
    flags = ("--sidecar-log-level=loud", "--sidecar-resources=64Mi")
    with pytest.raises(UnusableInput) as caught:
        explained(a_pod(), a_raw_binding(), arguments=flags)
    assert "--sidecar-log-level: 'loud' is not a log level" in str(caught.value)
    assert "--sidecar-resources: '64Mi' is not JSON" in str(caught.value)


def a_workload(kind: str, template: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {"template": template}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    return {"kind": kind, "metadata": {"name": "reports", "namespace": "team-a"}, "spec": spec}


@pytest.mark.parametrize("kind", sorted(set(workloads.KINDS) - {"Pod"}))
def test_a_workloads_pod_is_the_one_of_its_template(kind: str) -> None:
    pod = a_pod(labels={"app": "reports"})
    template = {"metadata": pod["metadata"], "spec": pod["spec"]}
    data = as_data(a_workload(kind, template), a_raw_binding())
    assert (data["kind"], data["namespace"], data["reason"]) == (kind, "team-a", "BindingSelected")
    metadata = data["pod"]["metadata"]
    assert (metadata["generateName"], metadata["namespace"]) == ("reports-", "team-a")
    assert data["pod"]["spec"]["initContainers"][0]["name"] == "rolesanywhere-sidecar"


def test_bindings_of_other_namespaces_are_not_looked_at() -> None:
    data = as_data(a_workload("Job", {"spec": a_pod()["spec"]}), a_raw_binding(namespace="team-b"))
    assert data["bindings"] == []


def test_what_names_no_namespace_is_in_the_one_that_is_asked_for() -> None:
    binding = a_raw_binding()
    del binding["metadata"]["namespace"]
    told = explained(a_pod(), binding, arguments=("-n", "team-x"))
    assert told.output.startswith("Pod team-x/reports-0: injected")


def test_what_is_ready_is_not_told_as_unready() -> None:
    condition = {"type": "Ready", "status": "True", "reason": "Accepted", "message": "m"}
    status = {"observedGeneration": 1, "conditions": [condition]}
    assert list(explanation.unready(a_raw_binding() | {"status": status})) == []


def test_a_binding_that_the_controller_has_not_seen_is_told_so() -> None:
    raw = a_raw_binding()
    assert list(explanation.unready(raw)) == [], "a file has no status, and nobody minds"
    raw["metadata"]["uid"] = "0f3c"
    [sentence] = explanation.unready(raw)
    assert "has no status: the controller has not seen it yet" in sentence


def test_a_refused_pod_is_told_of_the_status_of_the_binding_it_named() -> None:
    condition = {"type": "Ready", "status": "False", "reason": "Why", "message": "m"}
    binding = a_raw_binding(namespace="default") | {"status": {"conditions": [condition]}}
    pod = a_pod(annotations={"rolesanywhere.dev/binding": "reports"}, hostPID=True)
    assert as_data(pod, binding)["notReady"] == ["Ready is False (Why): m"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no manifest makes pods, there is nothing; expected one of Pod, Deployment"),
        ("kind: Service", "no manifest makes pods, there is Service; expected"),
        ("[1]", "standard input: document 1 is not a manifest, expected an object with a kind"),
        ("a: [", "standard input, line 1: not YAML: "),
        ("\0", "standard input: not YAML: "),
        ("[" * 5000, "standard input: not a manifest: it is nested too deeply"),
        ("{kind: Pod, spec: []}", "Pod *: spec is [], expected an object; no API server"),
        ("kind: Job", "Job *: spec.template is missing"),
        (
            "{kind: Pod, metadata: {name: x, annotations: {rolesanywhere.dev/inject: true}}}",
            "Pod x: metadata.annotations: rolesanywhere.dev/inject is true, expected a text; write"
            ' it in quotes, "like this"',
        ),
        ("{kind: Pod, spec: {containers: [{image: x}]}}", "spec.containers[0].name is missing"),
        (
            "{kind: Deployment, spec: {template: {spec: {containers: {}}}}}",
            "spec.template.spec.containers is {}, expected a list",
        ),
        (
            "{kind: Pod, spec: {containers: [{name: a, ports: [{containerPort: true}]}]}}",
            "spec.containers[0].ports[0].containerPort is true, expected a whole number",
        ),
        (
            "{kind: Pod}\n---\n{kind: RolesAnywhereBinding, apiVersion: rolesanywhere.dev/v1}",
            "a RolesAnywhereBinding has no metadata.name",
        ),
        (
            "{kind: Pod}\n---\n{kind: RolesAnywhereBinding, apiVersion: rolesanywhere.dev/v1,"
            " metadata: {name: x}}",
            "RolesAnywhereBinding x has apiVersion 'rolesanywhere.dev/v1', expected"
            " rolesanywhere.dev/v1alpha1",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_is_told_where_it_is_wrong(text: str, sentence: str) -> None:
    with pytest.raises(UnusableInput, match=re.escape(sentence)):
        answer("-f", "-", stdin=text)


def test_a_binding_that_is_given_twice_is_not_guessed_at() -> None:
    with pytest.raises(UnusableInput, match="RolesAnywhereBinding team-a/reports is given twice"):
        explained(a_pod(), a_raw_binding(), a_raw_binding())


def test_a_manifest_of_another_namespace_is_not_moved() -> None:
    pod = a_workload("Job", {"spec": {}})
    with pytest.raises(UnusableInput, match="Job team-a/reports is not in namespace team-b"):
        explained(pod, a_raw_binding(), arguments=("-n", "team-b"))


def test_files_and_folders_are_read(tmp_path: Path) -> None:
    (tmp_path / "pod.json").write_text(json.dumps(a_pod()))
    (tmp_path / "binding.yml").write_text(yaml.safe_dump(a_raw_binding(namespace="default")))
    (tmp_path / "README.md").write_text("# no manifest")
    assert answer("-f", tmp_path).code == 0


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("absent.yaml", "absent.yaml cannot be read: No such file"), ("bin", "bin is not a text: ")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UnusableInput, match=sentence):
        answer("-f", tmp_path / name)


def test_nothing_to_explain_is_told_so() -> None:
    with pytest.raises(UnusableInput, match="name a manifest with -f FILE"):
        answer()
    with pytest.raises(UnusableInput, match="standard input can be read once, got it twice"):
        answer("-f", "-", "-f", "-")


def test_without_bindings_a_cluster_is_asked_and_one_that_is_not_there_is_named() -> None:
    with pytest.raises(KubeError, match=r"kubeconfig /nowhere/\.kube/config cannot be used"):
        explained(a_pod())


def test_a_date_in_a_manifest_stays_a_text() -> None:
    text = "kind: Pod\nspec:\n  containers: [{name: a, args: [2026-01-31]}]\n---\n"
    binding = yaml.safe_dump(a_raw_binding(namespace="default"))
    pod = "metadata: {annotations: {rolesanywhere.dev/inject: 'true'}}\n"
    told = answer("-f", "-", "-o", "json", stdin=pod + text + binding)
    assert json.loads(told.output)["pod"]["spec"]["containers"][0]["args"] == ["2026-01-31"]


def test_own_keys_that_sdks_prefer_are_pointed_out_in_chosen_containers_alone() -> None:
    key = {"env": [{"name": "AWS_ACCESS_KEY_ID", "value": "AKIA"}]}
    pod = a_pod(
        a_container("app"), a_container("logs", **key),
        annotations={"rolesanywhere.dev/containers": "app"},
    )  # fmt: skip
    binding = a_raw_binding(namespace="default")
    assert as_data(pod, binding)["notes"] == []
    pod["metadata"]["annotations"]["rolesanywhere.dev/containers"] = "app,logs"
    [note] = as_data(pod, binding)["notes"]
    assert (
        note == "container logs sets AWS_ACCESS_KEY_ID, which SDKs prefer to the sidecar; remove it"
    )


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def either(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(strategy, strategy, strategy, anything)


def some_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return either(st.fixed_dictionaries({}, optional={k: either(v) for k, v in fields.items()}))


words = st.sampled_from(["app", "team-a", "true", "rolesanywhere-sidecar", "/var/run/secrets"])
container = some_of(
    name=words,
    env=st.lists(some_of(name=words, value=words), max_size=2),
    envFrom=st.lists(some_of(prefix=words), max_size=1),
    volumeMounts=st.lists(some_of(name=words, mountPath=words, subPath=words), max_size=1),
    ports=st.lists(some_of(containerPort=st.integers(), protocol=words), max_size=1),
    args=anything,
)
annotations = st.dictionaries(
    st.sampled_from(
        [f"rolesanywhere.dev/{x}" for x in ("inject", "binding", "containers", "injected")]
    ),
    either(words),
    max_size=3,
)
hostile_pods = st.fixed_dictionaries(
    {
        "kind": st.just("Pod"),
        "metadata": some_of(name=words, labels=annotations, annotations=annotations),
        "spec": some_of(
            containers=st.lists(container, max_size=2),
            initContainers=st.lists(container, max_size=2),
            volumes=st.lists(some_of(name=words), max_size=1),
            serviceAccountName=words,
            os=some_of(name=words),
            hostNetwork=st.booleans(),
        ),
    }
)


@settings(deadline=None, max_examples=300)
@given(hostile_pods)
def test_no_manifest_however_wrong_is_answered_with_a_stack_trace(pod: dict[str, Any]) -> None:
    with suppress(MisshapenManifest):
        workload = workloads.read(pod)
        assert workload is not None
        bindings = {"app": a_raw_binding("app")}
        setup = Setup(sidecars=DEFAULTS)
        assert explanation.explain(workload, "team-a", bindings, setup=setup).why
