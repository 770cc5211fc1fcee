"""Injection, for any pod: judged by jsonpatch, which is not ours."""

import copy
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.settings import Settings as SidecarSettings
from rolesanywhere_operator.domain import injection, manifests, selection
from rolesanywhere_operator.domain.bindings import Binding
from rolesanywhere_operator.domain.decisions import Inject, Leave, Reason, Refuse
from rolesanywhere_operator.domain.sidecardefaults import SidecarDefaults
from tests.operator.builders import DEFAULTS, a_binding, a_container, a_pod

OURS_IN_A_CONTAINER = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "NO_PROXY",
    "no_proxy",
}

names = st.sampled_from(["app", "worker", "proxy", "setup", "logs", "mesh"])
variables = st.builds(
    lambda name, value: {"name": name, **value},
    st.sampled_from([*sorted(OURS_IN_A_CONTAINER), "MODE", "HTTPS_PROXY", "http_proxy"]),
    st.sampled_from(
        [
            {},
            *({"value": text} for text in ("", "x", "*", "10.0.0.0/8,localhost")),
            {"valueFrom": {"configMapKeyRef": {"name": "site", "key": "x"}}},
        ]
    ),
)
strange = st.dictionaries(
    st.sampled_from(["tomorrow", "lifecycle", "~/odd"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=4,
    ),
    max_size=2,
)


def nullable(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


@st.composite
def containers(draw: st.DrawFn, name: str) -> dict[str, Any]:
    mount = {"name": "data", "mountPath": "/data"}
    variable_lists: st.SearchStrategy[Any] = st.lists(
        variables, max_size=4, unique_by=lambda one: one["name"]
    )
    fields: dict[str, st.SearchStrategy[Any]] = {
        "env": nullable(variable_lists),
        "volumeMounts": nullable(st.just([mount]) | st.just([])),
        "envFrom": nullable(st.just([{"configMapRef": {"name": "site"}}])),
        "restartPolicy": st.just("Always"),
    }
    chosen = {key: draw(value) for key, value in fields.items() if draw(st.booleans())}
    return {"name": name, "image": "registry.example/x:1", **draw(strange), **chosen}


@st.composite
def asking_pods(draw: st.DrawFn) -> dict[str, Any]:
    drawn = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    split = draw(st.integers(min_value=1, max_value=len(drawn)))
    spec: dict[str, Any] = {"containers": [draw(containers(name)) for name in drawn[:split]]}
    init = [draw(containers(name)) for name in drawn[split:]]
    if draw(st.booleans()) or init:
        spec["initContainers"] = init or draw(st.sampled_from([None, []]))
    if draw(st.booleans()):
        spec["volumes"] = draw(nullable(st.just([{"name": "data", "emptyDir": {}}])))
    metadata: dict[str, Any] = {
        "generateName": "x-",
        "annotations": {"rolesanywhere.dev/inject": "true"},
    }
    if draw(st.booleans()):
        metadata["labels"] = draw(nullable(st.dictionaries(names, names)))
    return {"metadata": metadata, "spec": spec | draw(strange), **draw(strange)}


ISSUER = {"issuerRef": {"name": "ca"}}
OF_EVERY_KIND = [
    a_binding(),
    a_binding(identity={"certManager": ISSUER}),
    a_binding(identity={"certManager": ISSUER | {"mode": "PerPod"}}),
    a_binding(identity={"csi": {"driver": "csi.example.com", "certificateFile": "a.pem"}}),
    a_binding(identity={"podCertificate": {"signerName": "a.b/c", "keyType": "RSA3072"}}),
]
served_bindings = st.sampled_from(
    [
        *OF_EVERY_KIND,
        a_binding(imds=False),
        a_binding(roleSessionName="{pod}", sidecar={"port": 9000}),
    ]
)


def injected(pod: Any, binding: Binding) -> Any:
    decision = selection.decide(pod, "team-a", {binding.name: binding})
    assert isinstance(decision, Inject)
    before = copy.deepcopy(pod)
    operations = injection.inject(pod, decision, defaults=DEFAULTS)
    assert pod == before, "the pod that was sent is not ours to change"
    return jsonpatch.apply_patch(pod, operations)


def without_ours(container: dict[str, Any], original: dict[str, Any]) -> dict[str, Any]:
    """``container`` with what injection may add taken away again."""
    left = dict(container)
    kept = {one["name"] for one in original.get("env") or ()}
    restored = [
        next((o for o in original.get("env") or () if o["name"] == one["name"]), one)
        if one["name"] in ("NO_PROXY", "no_proxy")
        else one
        for one in left.get("env") or ()
        if one["name"] in kept or one["name"] not in OURS_IN_A_CONTAINER
    ]
    mounts = [m for m in left.get("volumeMounts") or () if m["name"] != "rolesanywhere-token"]
    for field, value in (("env", restored), ("volumeMounts", mounts)):
        left.pop(field, None)
        if value or field in original:
            left[field] = value or original[field]
    return left


@settings(deadline=None)
@given(asking_pods(), served_bindings)
def test_injecting_twice_changes_nothing_more(pod: dict[str, Any], binding: Binding) -> None:
    once = injected(pod, binding)
    assert injected(once, binding) == once


@settings(deadline=None)
@given(asking_pods(), served_bindings)
def test_what_is_not_ours_stays_as_it_was_to_the_byte(
    pod: dict[str, Any], binding: Binding
) -> None:
    after = injected(pod, binding)
    spec, was = dict(after["spec"]), pod["spec"]
    assert spec["initContainers"].pop(0)["name"] == "rolesanywhere-sidecar"
    spec["volumes"] = [v for v in spec["volumes"] if not v["name"].startswith("rolesanywhere-")]
    for kind in ("containers", "initContainers"):
        pairs = zip(spec[kind], was.get(kind) or [], strict=True)
        spec[kind] = [without_ours(container, original) for container, original in pairs]
    for field in ("initContainers", "volumes"):
        if not was.get(field):
            assert spec.pop(field) == []
            spec |= {field: was[field]} if field in was else {}
    assert json.dumps(spec, sort_keys=True) == json.dumps(was, sort_keys=True)
    del after["metadata"]["annotations"]["rolesanywhere.dev/injected"]
    del after["metadata"]["labels"]["rolesanywhere.dev/binding"]
    if not pod["metadata"].get("labels"):
        assert after["metadata"].pop("labels") == {}
        after["metadata"] |= {k: v for k, v in pod["metadata"].items() if k == "labels"}
    assert after | {"spec": was} == pod


@settings(deadline=None)
@given(asking_pods(), served_bindings)
def test_a_patch_repeats_nothing_that_a_pod_may_keep_secret(
    pod: dict[str, Any], binding: Binding
) -> None:
    """API servers write patches into audit logs, and into annotations there."""
    secret = "hush-hush"
    for one in (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())):
        one["env"] = [{"name": "PASSWORD", "value": secret}, *(one.get("env") or ())]
        one["args"] = [f"--password={secret}"]
    pod["metadata"]["annotations"]["note"] = secret
    pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), "note": secret}
    decision = selection.decide(pod, "team-a", {binding.name: binding})
    assert isinstance(decision, Inject)
    assert secret not in json.dumps(injection.inject(pod, decision, defaults=DEFAULTS))


@settings(deadline=None)
@given(asking_pods(), served_bindings)
def test_no_variable_that_the_user_set_is_overwritten(
    pod: dict[str, Any], binding: Binding
) -> None:
    after = injected(pod, binding)
    for kind in ("containers", "initContainers"):
        new = {container["name"]: container for container in after["spec"].get(kind) or ()}
        for container in pod["spec"].get(kind) or ():
            set_now = [one["name"] for one in new[container["name"]].get("env") or ()]
            assert len(set_now) == len(set(set_now))
            for one in container.get("env") or ():
                if one["name"] not in ("NO_PROXY", "no_proxy"):
                    assert one in new[container["name"]]["env"]


@settings(deadline=None)
@given(asking_pods(), st.lists(served_bindings, max_size=3), st.booleans())
def test_every_pod_gets_exactly_one_decision_with_one_reason(
    pod: dict[str, Any], bindings: list[Binding], shared: bool
) -> None:
    pod["spec"]["shareProcessNamespace"] = shared
    by_name = {binding.name: binding for binding in bindings}
    decision = selection.decide(pod, "team-a", by_name)
    assert isinstance(decision, Inject | Leave | Refuse)
    assert decision.reason in type(decision.reason)


EXCEPTIONS = ("NO_PROXY", "no_proxy")


def exceptions_of(*env: dict[str, Any]) -> dict[str, list[str]]:
    """What an app that sets ``env`` behind a proxy reaches directly, by spelling."""
    proxy = {"name": "HTTP_PROXY", "value": "http://proxy.example:3128"}
    pod = injected(a_pod(a_container(env=[proxy, *env])), a_binding())
    after = {one["name"]: one.get("value", "") for one in pod["spec"]["containers"][0]["env"]}
    return {name: after[name].split(",") for name in EXCEPTIONS if name in after}


@pytest.mark.parametrize("name", EXCEPTIONS)
@pytest.mark.parametrize("value", [{}, {"value": ""}, {"value": " "}], ids=["absent", "", "blank"])
def test_the_token_stays_off_a_proxy_where_no_proxy_is_there_but_empty(
    name: str, value: dict[str, str]
) -> None:
    direct = ["127.0.0.1", "localhost"]
    assert exceptions_of({"name": name, **value}) == {"NO_PROXY": direct, "no_proxy": direct}


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_both_spellings_of_no_proxy_say_the_same_where_one_is_set(name: str) -> None:
    listed = [".example", "127.0.0.1", "localhost"]
    given = {"name": name, "value": ".example"}
    assert exceptions_of(given) == {"NO_PROXY": listed, "no_proxy": listed}


def test_each_spelling_of_no_proxy_keeps_what_it_says() -> None:
    upper, lower = {"name": "NO_PROXY", "value": "a"}, {"name": "no_proxy", "value": "b"}
    assert exceptions_of(upper, lower) == {
        "NO_PROXY": ["a", "127.0.0.1", "localhost"],
        "no_proxy": ["b", "127.0.0.1", "localhost"],
    }


def test_containers_not_chosen_get_nothing() -> None:
    pod = a_pod(
        a_container("app"),
        a_container("logs"),
        annotations={"rolesanywhere.dev/containers": "app"},
    )
    app, logs = injected(pod, a_binding())["spec"]["containers"]
    assert logs == a_container("logs")
    assert app != a_container("app")


@pytest.mark.parametrize("binding", OF_EVERY_KIND, ids=lambda binding: str(binding.identity))
def test_the_key_is_mounted_into_the_sidecar_alone(binding: Binding) -> None:
    pod = injected(a_pod(initContainers=[a_container("setup")]), binding)
    everyone = [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
    mounting = [
        container["name"]
        for container in everyone
        if any(mount["name"] == "rolesanywhere-identity" for mount in container["volumeMounts"])
    ]
    assert mounting == ["rolesanywhere-sidecar"]


# What Pod Security "restricted" allows (Kubernetes documentation, "Pod Security Standards").
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
    "projected", "secret",
}  # fmt: skip


@pytest.mark.parametrize("binding", OF_EVERY_KIND, ids=lambda binding: str(binding.identity))
def test_no_volume_of_ours_is_more_than_a_restricted_pod_may_have(binding: Binding) -> None:
    for volume in injected(a_pod(), binding)["spec"]["volumes"]:
        assert volume.keys() - {"name"} <= RESTRICTED_VOLUMES


@pytest.mark.parametrize("binding", OF_EVERY_KIND, ids=lambda binding: str(binding.identity))
def test_the_sidecars_user_can_read_the_key_and_nobody_write_it(binding: Binding) -> None:
    # It shares no group with the pod: a driver is told of it, else the mode lets it in.
    volume = injected(a_pod(), binding)["spec"]["volumes"][0]
    assert volume["name"] == "rolesanywhere-identity"
    source = volume.get("secret") or volume.get("projected") or volume["csi"]
    assert source.get("readOnly") is True or source["defaultMode"] == 0o444


PER_POD = {"certManager": ISSUER | {"mode": "PerPod", "commonName": "${POD_NAME}.${POD_NAMESPACE}"}}


@pytest.mark.parametrize(
    ("metadata", "length"),
    [
        ({"name": "p" * 57}, None),
        ({"name": "p" * 58}, 65),
        ({"generateName": "p" * 52}, None),
        ({"generateName": "p" * 53}, 65),
        # The API server cuts the prefix of a name that it makes, whatever its length.
        ({"generateName": "p" * 250}, 70),
    ],
)
def test_a_pod_whose_name_its_certificate_cannot_hold_is_refused(
    metadata: dict[str, str], length: int | None
) -> None:
    pod = a_pod()
    del pod["metadata"]["name"]
    pod["metadata"] |= metadata
    binding = a_binding(identity=PER_POD)
    decision = selection.decide(pod, "team-a", {"reports": binding})
    if length is None:
        assert isinstance(decision, Inject)
        return
    assert isinstance(decision, Refuse)
    assert decision.reason == "NameTooLong"
    assert f"a name of {length} characters, expected 64 at most" in decision.sentence


def test_the_service_account_counts_in_a_certificates_name() -> None:
    names = {"dnsNames": ["${SERVICE_ACCOUNT_NAME}." + "d" * 245]}
    binding = a_binding(identity={"certManager": PER_POD["certManager"] | names})
    bindings = {"reports": binding}
    assert isinstance(selection.decide(a_pod(), "team-a", bindings), Inject)
    refused = selection.decide(a_pod(serviceAccountName="reporter"), "team-a", bindings)
    assert isinstance(refused, Refuse)
    assert "a name of 254 characters, expected 253 at most" in refused.sentence


def test_kubernetes_expands_nothing_in_what_a_binding_says() -> None:
    binding = a_binding(roleArn="arn:aws:iam::111122223333:role/$(HOME)/reports")
    env = {one["name"]: one["value"] for one in manifests.sidecar(binding, DEFAULTS)["env"]}
    assert env["ROLESANYWHERE_ROLE_ARN"] == "arn:aws:iam::111122223333:role/$$(HOME)/reports"


def test_the_pods_name_stands_before_the_session_name_that_needs_it() -> None:
    binding = a_binding(roleSessionName="{namespace}.{pod}-{serviceAccount}")
    env = manifests.sidecar(binding, DEFAULTS)["env"]
    assert [one["name"] for one in env[:3]] == ["POD_NAMESPACE", "POD_NAME", "POD_SERVICE_ACCOUNT"]
    assert env[-1] == {
        "name": "ROLESANYWHERE_ROLE_SESSION_NAME",
        "value": "$(POD_NAMESPACE).$(POD_NAME)-$(POD_SERVICE_ACCOUNT)",
    }


def test_the_sidecar_understands_what_it_is_told() -> None:
    binding = a_binding(
        roleArn="arn:aws:iam::111122223333:role/$(POD_NAME)/reports",
        roleSessionName="{namespace}.{pod}",
        imds=False,
        durationSeconds=900,
    )
    fields = {"metadata.namespace": "team-a", "metadata.name": "reports-0"}
    env: dict[str, str] = {}
    for one in manifests.sidecar(binding, DEFAULTS)["env"]:
        if "valueFrom" in one:
            env[one["name"]] = fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
        else:
            env[one["name"]] = expanded(one["value"], env)
    told = SidecarSettings.from_env(env)
    assert replace(told, role_session_name=None) == binding.settings
    assert told.role_session_name == "team-a.reports-0"


def expanded(value: str, env: dict[str, str]) -> str:
    """``value`` as the kubelet expands it: $(NAME) where known, $$ is one $."""

    def meaning(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else env.get(match["name"], match[0])

    return re.sub(r"\$\$|\$\((?P<name>[^)]*)\)", meaning, value)


def test_pods_of_a_binding_that_was_made_anew_get_what_the_new_one_says() -> None:
    """It has its old name, and its generations begin at 1 again."""

    def told(binding: Binding, image: str) -> tuple[bool, bool]:
        decision = Inject(Reason.BINDING_NAMED, binding, ("app",))
        operations = injection.inject(a_pod(), decision, defaults=SidecarDefaults(image=image))
        return "127.0.0.1:9000" in str(operations), f"'image': '{image}'" in str(operations)

    assert told(a_binding(), "sidecar:1") == (False, True)
    assert told(a_binding(sidecar={"port": 9000}), "sidecar:2") == (True, True)


def test_a_pods_turn_is_its_own_and_what_the_sidecar_reads_back() -> None:
    """Pods of one binding share how its settings are spelt."""
    decision = Inject(Reason.BINDING_NAMED, a_binding(), ("app",))
    turn = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)

    def told(start_after: datetime | None) -> SidecarSettings:
        operations = injection.inject(a_pod(), decision, defaults=DEFAULTS, start_after=start_after)
        [sidecar] = operations[-1]["value"]
        environment = {one["name"]: one["value"] for one in sidecar["env"]}
        return SidecarSettings.from_env(environment)

    assert [told(one).start_after for one in (turn, None, turn)] == [turn, None, turn]
