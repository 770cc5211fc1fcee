"""Which binding serves a pod: what the golden folders do not say."""

from typing import Any

import pytest

from rolesanywhere_operator.domain import manifests, selection
from rolesanywhere_operator.domain.bindings import Binding, InvalidBinding
from rolesanywhere_operator.domain.decisions import Decision, Inject, Leave, Reason, Refuse
from rolesanywhere_operator.domain.selectors import Requirement
from tests.operator.builders import DEFAULTS, Json, a_binding, a_container, a_pod

BROKEN = InvalidBinding(("spec.roleArn: is wrong",))


def by_name(*bindings: Binding) -> selection.Bindings:
    return {binding.name: binding for binding in bindings}


def test_a_pod_that_does_not_ask_is_left_alone_whatever_else_it_says() -> None:
    pod = a_pod(inject=None, annotations={"example.com/containers": ",,"}, hostNetwork=True)
    assert selection.decide(pod, "team-a", {}) == Leave(Reason.NOT_ASKED)


def test_a_pod_that_opts_out_is_left_alone() -> None:
    assert selection.decide(a_pod(inject="false"), "team-a", {}) == Leave(Reason.OPTED_OUT)


@pytest.mark.parametrize("annotation", ["containers", "skip-containers"])
def test_a_pod_that_chooses_containers_but_asks_for_nothing_is_not_silently_left_alone(
    annotation: str,
) -> None:
    pod = a_pod(inject=None, annotations={f"rolesanywhere.dev/{annotation}": "app"})
    decision = selection.decide(pod, "team-a", by_name(a_binding()))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.INCOMPLETE_ANNOTATIONS
    assert f"rolesanywhere.dev/{annotation}" in decision.sentence


def test_a_pod_that_opts_out_may_still_choose_containers() -> None:
    pod = a_pod(inject="false", annotations={"rolesanywhere.dev/containers": "app"})
    assert selection.decide(pod, "team-a", {}) == Leave(Reason.OPTED_OUT)


def test_a_pod_without_containers_is_not_told_of_an_annotation_that_it_lacks() -> None:
    pod = a_pod()
    pod["spec"]["containers"] = []
    decision = selection.decide(pod, "team-a", by_name(a_binding()))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.NO_CONTAINER
    assert decision.sentence == (
        "the pod has no container that could get credentials; add one under spec.containers"
    )


@pytest.mark.parametrize("text", ["True", "TRUE", "1", "yes", "", " true", "on"])
def test_only_true_and_false_are_booleans(text: str) -> None:
    decision = selection.decide(a_pod(inject=text), "team-a", by_name(a_binding()))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.MALFORMED_ANNOTATION


def test_an_annotation_cannot_reach_into_another_namespace() -> None:
    pod = a_pod(annotations={"rolesanywhere.dev/binding": "team-b/reports"})
    decision = selection.decide(pod, "team-a", by_name(a_binding()))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.BINDING_NOT_FOUND


def test_naming_and_asking_at_once_is_naming() -> None:
    pod = a_pod(inject="true", annotations={"rolesanywhere.dev/binding": "web"})
    decision = selection.decide(pod, "team-a", by_name(a_binding("web"), a_binding("reports")))
    assert isinstance(decision, Inject)
    assert (decision.reason, decision.binding.name) == (Reason.BINDING_NAMED, "web")


def test_a_broken_binding_next_door_does_not_stop_a_pod() -> None:
    bindings: selection.Bindings = {"reports": a_binding(), "broken": BROKEN}
    decision = selection.decide(a_pod(), "team-a", bindings)
    assert isinstance(decision, Inject)
    assert decision.binding.name == "reports"


def test_a_binding_of_a_kind_not_served_yet_still_counts_as_a_match() -> None:
    other = a_binding("other", identity={"csi": {"driver": "csi.example"}})
    decision = selection.decide(a_pod(), "team-a", by_name(a_binding(), other))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.SEVERAL_BINDINGS_MATCH


def test_a_pod_without_a_service_account_runs_as_default() -> None:
    bindings = by_name(a_binding(serviceAccountNames=["default"]))
    assert isinstance(selection.decide(a_pod(), "team-a", bindings), Inject)


def test_the_old_spelling_of_the_service_account_counts_too() -> None:
    bindings = by_name(a_binding(serviceAccountNames=["reports"]))
    assert isinstance(selection.decide(a_pod(serviceAccount="reports"), "team-a", bindings), Inject)


def test_the_nodes_processes_are_a_shared_process_namespace_too() -> None:
    decision = selection.decide(a_pod(hostPID=True), "team-a", by_name(a_binding()))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.SHARED_PROCESS_NAMESPACE
    assert "hostPID" in decision.sentence


def test_a_binding_on_another_port_leaves_the_usual_one_to_the_app() -> None:
    pod = a_pod(a_container(ports=[{"containerPort": 9911}]))
    decision = selection.decide(pod, "team-a", by_name(a_binding(sidecar={"port": 9000})))
    assert isinstance(decision, Inject)


def test_windows_is_refused() -> None:
    decision = selection.decide(a_pod(os={"name": "windows"}), "team-a", by_name(a_binding()))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.WINDOWS


def test_a_refusal_names_the_binding_once_there_is_one() -> None:
    decision = selection.decide(a_pod(hostPID=True), "team-a", by_name(a_binding()))
    assert isinstance(decision, Refuse)
    assert decision.binding == "reports"


@pytest.mark.parametrize(
    ("operator", "values", "labels", "expected"),
    [
        ("In", {"a", "b"}, {"app": "a"}, True),
        ("In", {"a", "b"}, {"app": "c"}, False),
        ("In", {"a"}, {}, False),
        ("NotIn", {"a"}, {"app": "a"}, False),
        ("NotIn", {"a"}, {"app": "c"}, True),
        ("NotIn", {"a"}, {}, True),
        ("Exists", set(), {"app": ""}, True),
        ("Exists", set(), {}, False),
        ("DoesNotExist", set(), {}, True),
        ("DoesNotExist", set(), {"app": "a"}, False),
    ],
)
def test_requirements_mean_what_kubernetes_says(
    operator: str, values: set[str], labels: dict[str, str], expected: bool
) -> None:
    requirement = Requirement(key="app", operator=operator, values=frozenset(values))  # type: ignore[arg-type]  # parametrized
    assert requirement.is_met_by(labels) is expected


def a_sidecar_like_ours() -> Json:
    return manifests.sidecar(a_binding(), DEFAULTS)


@pytest.mark.parametrize(
    "volume", manifests.volumes(a_binding(), DEFAULTS), ids=lambda one: one["name"]
)
def test_a_volume_of_our_name_that_is_not_ours_is_refused(volume: Json) -> None:
    pod = a_pod(volumes=[{"name": volume["name"], "emptyDir": {}}])
    decision = selection.decide(pod, "team-a", by_name(a_binding()))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.NAME_TAKEN
    assert volume["name"] in decision.sentence


def decided_with_mount(**mount: Any) -> Decision:
    """What becomes of a pod whose app mounts a volume of its own."""
    own = {"name": "own", "emptyDir": {}}
    pod = a_pod(a_container(volumeMounts=[{"name": "own", **mount}]), volumes=[own])
    return selection.decide(pod, "team-a", by_name(a_binding()))


@pytest.mark.parametrize(
    "path",
    [
        "/var/run/secrets/rolesanywhere/token",
        "/var/run/secrets/rolesanywhere/deep/below",
        "/run/secrets/rolesanywhere",
        "/run/secrets/rolesanywhere/token",
        "//var//run/secrets/rolesanywhere//",
        "/var/run/./secrets/other/../rolesanywhere",
        "/var/../run/secrets/rolesanywhere/token",
        "var/run/secrets/rolesanywhere",
    ],
)
def test_a_mount_over_the_token_is_refused_however_it_is_spelt(path: str) -> None:
    decision = decided_with_mount(mountPath=path, subPath="token")
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.NAME_TAKEN
    assert f"volume own at {path.rstrip('/')}" in decision.sentence


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/run",
        "/var/run/secrets",
        "/var/run/secrets/rolesanywhere-app",
        "/srv/run/secrets/rolesanywhere",
        "/var/run/secrets/rolesanywhere/../eks",
    ],
)
def test_a_mount_above_or_beside_the_token_is_the_apps_own_affair(path: str) -> None:
    assert isinstance(decided_with_mount(mountPath=path), Inject)


@pytest.mark.parametrize(
    "change",
    [{"readOnly": False}, {"subPath": "token"}, {"subPathExpr": "token"}, {"mountPath": "/t"}],
    ids=lambda change: next(iter(change)),
)
def test_a_token_mount_of_an_injected_pod_that_was_changed_is_refused(change: Json) -> None:
    mount = manifests.token_mount() | change
    pod = a_pod(
        a_container(volumeMounts=[mount]),
        annotations={"rolesanywhere.dev/injected": MARK},
        initContainers=[a_sidecar_like_ours()],
        volumes=manifests.volumes(a_binding(), DEFAULTS),
    )
    decision = selection.decide(pod, "team-a", by_name(a_binding()))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.NAME_TAKEN


MARK = '{"binding": "reports", "containers": ["app"], "generation": 1, "image": "x"}'


@pytest.mark.parametrize("mark", ["", "{}", "[]", "injected", '{"binding": 1}', MARK[:-1]])
def test_a_sidecar_like_ours_without_our_mark_is_not_ours(mark: str) -> None:
    pod = a_pod(
        annotations={"rolesanywhere.dev/injected": mark}, initContainers=[a_sidecar_like_ours()]
    )
    decision = selection.decide(pod, "team-a", by_name(a_binding()))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.NAME_TAKEN


@pytest.mark.parametrize(
    "change",
    [{"args": ["exfiltrate"]}, {"restartPolicy": None}, {"volumeMounts": []}],
    ids=lambda change: next(iter(change)),
)
def test_our_mark_on_somebody_elses_sidecar_is_not_believed(change: Json) -> None:
    pod = a_pod(
        annotations={"rolesanywhere.dev/injected": MARK},
        initContainers=[a_sidecar_like_ours() | change],
    )
    decision = selection.decide(pod, "team-a", by_name(a_binding()))
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.NAME_TAKEN


def test_two_sidecars_are_not_ours() -> None:
    pod = a_pod(
        annotations={"rolesanywhere.dev/injected": MARK},
        initContainers=[a_sidecar_like_ours(), a_sidecar_like_ours()],
    )
    assert isinstance(selection.decide(pod, "team-a", by_name(a_binding())), Refuse)
