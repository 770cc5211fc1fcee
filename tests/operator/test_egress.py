"""The sidecar's way to AWS: what is read of proxy and CA bundle, and who is given what of them."""

import json
import re
from typing import Any

import jsonpatch
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.names import CA_BUNDLE_PATH, CA_BUNDLE_VOLUME, SIDECAR_CONTAINER
from rolesanywhere_contract.settings import Settings
from rolesanywhere_operator.domain import (
    bindings,
    egress,
    injection,
    nodepaths,
    objectkeys,
    pods,
    selection,
)
from rolesanywhere_operator.domain.bindings import Binding, InvalidBinding
from rolesanywhere_operator.domain.decisions import Inject
from rolesanywhere_operator.domain.sidecardefaults import SidecarDefaults
from rolesanywhere_operator.settings import WebhookSettings
from rolesanywhere_sidecar.service.proxies import proxy_for
from tests.chart.helm import CHART
from tests.control_plane.test_crd import BAD, GOOD
from tests.operator.builders import IMAGE, a_binding, a_container, a_pod, a_raw_binding
from tests.operator.test_crd import SPEC

AWS = "https://rolesanywhere.eu-west-1.amazonaws.com"
FIELDS = SPEC["sidecar"]["properties"]
VARIABLE = "ROLESANYWHERE_OPERATOR_SIDECAR_"
TOLD = {f"{VARIABLE}IMAGE": IMAGE}


def of_egress(specs: dict[str, Any]) -> list[str]:
    """The names of the examples of the schema that are about proxy or CA bundle."""
    given = {name: one[0] if isinstance(one, tuple) else one for name, one in specs.items()}
    ours = {"proxy", "caBundle"}
    return [name for name, spec in given.items() if ours & spec.get("sidecar", {}).keys()]


def mistakes_of(**sidecar: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidBinding) as caught:
        a_binding(sidecar=sidecar)
    return caught.value.mistakes


def injected(binding: Binding, pod: Any, defaults: SidecarDefaults) -> Any:
    decision = selection.decide(pod, "team-a", {binding.name: binding})
    assert isinstance(decision, Inject)
    return jsonpatch.apply_patch(pod, injection.inject(pod, decision, defaults=defaults))


def sidecar_of(pod: Any) -> Any:
    return next(one for one in pods.every_container(pod) if one["name"] == SIDECAR_CONTAINER)


def told(container: Any) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def set_up(**fields: Any) -> SidecarDefaults:
    """Defaults as the webhook reads them: JSON in its environment."""
    env = {f"{VARIABLE}{name.upper()}": json.dumps(one) for name, one in fields.items()}
    return WebhookSettings.from_env(TOLD | env).sidecar_defaults


@pytest.mark.parametrize("what", of_egress(GOOD))
def test_what_the_schema_takes_makes_sense(what: str) -> None:
    bindings.parse(a_raw_binding(**GOOD[what]))


@pytest.mark.parametrize("what", of_egress(BAD))
def test_what_the_schema_refuses_is_refused_without_it(what: str) -> None:
    with pytest.raises(InvalidBinding, match=r"spec\.sidecar\.(proxy|caBundle): "):
        bindings.parse(a_raw_binding(**BAD[what][0]))


@pytest.mark.parametrize(
    ("sidecar", "words"),
    [
        ({"proxy": "http://proxy.example"}, "proxy: is no object, expected one of url, urlSec"),
        ({"proxy": {"URL": "http://proxy.example"}}, "proxy: URL is not known, expected url, ur"),
        ({"proxy": {"url": "proxy.example:3128"}}, "url is not the URL of an HTTP proxy, expected"),
        ({"proxy": {"url": "socks5://proxy.example"}}, "url is not the URL of an HTTP proxy"),
        ({"proxy": {"url": "http://[::1"}}, "url is not the URL of an HTTP proxy"),
        ({"proxy": {"url": "http://[1.2]:80"}}, "url is not the URL of an HTTP proxy"),
        ({"proxy": {"url": "http://proxy.example:65536"}}, "url is not the URL of an HTTP proxy"),
        ({"proxy": {"url": "http://proxy.example\n"}}, "url is not the URL of an HTTP proxy"),
        ({"proxy": {"url": 3128}}, "url is not the URL of an HTTP proxy"),
        ({"proxy": {"url": "http://u:p@proxy.example"}}, "name that in urlSecretRef"),
        ({"proxy": {"urlSecretRef": {"name": "p"}}}, "urlSecretRef has no key that a Secret can"),
        ({"proxy": {"noProxy": ["a"]}}, "noProxy is set, expected url or urlSecretRef besides"),
        (
            {"proxy": {"url": "http://p", "noProxy": "a,b"}},
            "noProxy is no list, expected one of hosts, domains",
        ),
        (
            {"proxy": {"url": "http://p", "noProxy": ["a,b"]}},
            "noProxy has 'a,b', expected a host, a domain such as .corp.example, an address",
        ),
        (
            {"proxy": {"url": "http://p", "urlSecretRef": {"name": "p", "key": "url"}}},
            "url and urlSecretRef are set, expected one of them",
        ),
        ({"caBundle": {"secret": {}}}, "caBundle: secret is not known, expected configMap"),
        ({"caBundle": {"configMap": {}}}, "configMap has no name that a ConfigMap can have"),
        ({"caBundle": {"configMap": {"name": "a", "key": "b/c"}}}, "has no key that a ConfigM"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_field_and_what_to_do(
    sidecar: dict[str, Any], words: str
) -> None:
    [mistake] = mistakes_of(**sidecar)
    assert mistake.startswith("spec.sidecar.")
    assert words in mistake


def test_every_mistake_is_named_at_once() -> None:
    proxy = {"url": "x", "urlSecretRef": {}, "noProxy": [None]}
    assert len(mistakes_of(proxy=proxy, caBundle={"configMap": {}})) == 5


@pytest.mark.parametrize("url", ["http://svc:hunter2@proxy", "hunter2@", "socks5://x:hunter2@y"])
def test_a_password_is_not_repeated_by_those_who_refuse_it(url: str) -> None:
    assert "hunter2" not in str(mistakes_of(proxy={"url": url}))
    for value in (json.dumps({"url": url}), url):
        with pytest.raises(InvalidSettings, match=f"{VARIABLE}PROXY: ") as caught:
            WebhookSettings.from_env(TOLD | {f"{VARIABLE}PROXY": value})
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"urlSecretRef": {"name": "http://svc:hunter2@proxy", "key": "url"}},
        {"urlSecretRef": {"name": "proxy", "key": "hunter2@"}},
        {"url": "http://proxy", "noProxy": ["svc:hunter2@proxy"]},
        {"url": "http://proxy", "noProxy": [["http://hunter2"]]},
        {"url": "http://proxy", "noProxy": "http://hunter2"},
        {"http://svc:hunter2@proxy": ""},
    ],
)
def test_a_url_in_a_wrong_field_is_not_repeated_either(given: dict[str, Any]) -> None:
    assert "hunter2" not in str(mistakes_of(proxy=given))
    with pytest.raises(InvalidSettings) as caught:
        WebhookSettings.from_env(TOLD | {f"{VARIABLE}PROXY": json.dumps(given)})
    assert "hunter2" not in str(caught.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["url", "urlSecretRef", "noProxy", "configMap", "name", "key"]), inner
        )
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(values, values)
def test_whatever_is_there_is_an_egress_or_a_mistake(proxy: object, bundle: object) -> None:
    # A binding that crashed its reader would take everybody's webhook down.
    entry = bindings.read(a_raw_binding(sidecar={"proxy": proxy, "caBundle": bundle}))
    assert str(entry)


URLS = st.from_regex(egress.PROXY_URL, fullmatch=True)
EXCEPTIONS = st.from_regex(egress.EXCEPTION, fullmatch=True)


@settings(deadline=None)
@given(URLS, st.lists(EXCEPTIONS, max_size=3))
def test_what_is_taken_for_a_proxy_the_sidecar_takes_too(url: str, exceptions: list[str]) -> None:
    try:
        egress.proxy({"url": url, "noProxy": exceptions})
    except egress.InvalidEgress:
        return
    found = proxy_for(AWS, {"https_proxy": url})
    assert found is not None
    assert (found.url, found.authorization) == (url, None)
    assert proxy_for(AWS, {"https_proxy": url, "no_proxy": ",".join(exceptions)}) in (found, None)


def test_schemas_and_reader_have_the_same_patterns() -> None:
    chart = json.loads((CHART / "values.schema.json").read_text())
    values = chart["properties"]["sidecar"]["properties"]
    proxy, bundle = FIELDS["proxy"], FIELDS["caBundle"]["properties"]["configMap"]
    [*_, of_url] = proxy["x-kubernetes-validations"]
    assert matched(of_url) == egress.PROXY_URL
    # The template has the sentence for a password; what is empty is not set.
    assert values["proxy"]["properties"]["url"]["pattern"] == f"^$|@|{egress.PROXY_URL}"
    exceptions = proxy["properties"]["noProxy"]
    assert matched(*exceptions["items"]["x-kubernetes-validations"]) == egress.EXCEPTION
    assert values["proxy"]["properties"]["noProxy"]["items"]["pattern"] == egress.EXCEPTION
    for mine, theirs in (
        (proxy["properties"]["urlSecretRef"], values["proxy"]["properties"]["urlSecretRef"]),
        (bundle, values["caBundle"]["properties"]["configMap"]),
    ):
        for field, pattern in (("name", objectkeys.OBJECT_NAME), ("key", objectkeys.OBJECT_KEY)):
            assert matched(*mine["properties"][field]["x-kubernetes-validations"]) == pattern
            assert theirs["properties"][field]["pattern"] == f"^$|{pattern}"
    given = yaml.safe_load((CHART / "values.yaml").read_text())["sidecar"]["caBundle"]["configMap"]
    assert given["key"] == bundle["properties"]["key"]["default"] == egress.BUNDLE_KEY


def matched(rule: dict[str, str]) -> str:
    """The pattern that a rule holds a text to."""
    found = re.search(r"matches\(r?(['\"])(.*)\1\)", rule["rule"])
    assert found is not None
    return found[2]


A_PROXY = {"url": "http://proxy.example:3128", "noProxy": [".corp.example", "10.0.0.0/8"]}
A_BUNDLE = {"configMap": {"name": "very-own-authorities", "key": "bundle.pem"}}
proxies = st.none() | st.sampled_from(
    [{}, A_PROXY, {"urlSecretRef": {"name": "very-own-proxy", "key": "url"}}]
)
bundles = st.none() | st.sampled_from([{}, A_BUNDLE, {"configMap": {"name": "very-own-other"}}])
sidecars = st.builds(
    lambda proxy, bundle: {
        name: one for name, one in (("proxy", proxy), ("caBundle", bundle)) if one is not None
    },
    proxies,
    bundles,
)
defaults = st.builds(set_up, proxy=proxies, ca_bundle=bundles)
EVERYWHERE = a_pod(
    a_container(env=[{"name": "https_proxy", "value": "http://the-apps-own:8080"}]),
    initContainers=[a_container("setup")],
)


@settings(deadline=None)
@given(sidecars, defaults)
def test_the_sidecar_alone_is_given_the_way_out(
    spec: dict[str, Any], chosen: SidecarDefaults
) -> None:
    with_it = injected(a_binding(sidecar=spec), EVERYWHERE, chosen)
    without = injected(a_binding(), EVERYWHERE, SidecarDefaults(image=IMAGE))
    assert [one for one in pods.every_container(with_it) if one["name"] != SIDECAR_CONTAINER] == [
        one for one in pods.every_container(without) if one["name"] != SIDECAR_CONTAINER
    ]


@settings(deadline=None)
@given(sidecars, defaults)
def test_injecting_a_way_out_twice_changes_nothing_more(
    spec: dict[str, Any], chosen: SidecarDefaults
) -> None:
    binding = a_binding(sidecar=spec)
    once = injected(binding, EVERYWHERE, chosen)
    assert injected(binding, once, chosen) == once


@settings(deadline=None)
@given(sidecars, defaults, defaults)
def test_a_sidecar_that_is_there_is_given_no_volume_that_it_has_no_use_for(
    spec: dict[str, Any], then: SidecarDefaults, now: SidecarDefaults
) -> None:
    """Such a volume could name a ConfigMap that is not there, and keep the pod waiting."""
    once = injected(a_binding(sidecar=spec), EVERYWHERE, then)
    assert injected(a_binding(), once, now) == once


@settings(deadline=None)
@given(sidecars, defaults)
def test_a_bundle_that_is_named_is_mounted_read_only_and_told(
    spec: dict[str, Any], chosen: SidecarDefaults
) -> None:
    pod = injected(a_binding(sidecar=spec), EVERYWHERE, chosen)
    volumes = [one for one in pods.volumes(pod) if one["name"] == CA_BUNDLE_VOLUME]
    mounts = [one for one in pods.mounts(sidecar_of(pod)) if one["name"] == CA_BUNDLE_VOLUME]
    path = Settings.from_env(
        {name: one for name, one in told(sidecar_of(pod)).items() if isinstance(one, str)}
    ).ca_bundle
    if not volumes:
        assert (mounts, path) == ([], None)
        return
    [volume], [mount] = volumes, mounts
    [file] = volume["configMap"]["items"]
    assert "optional" not in volume["configMap"], "the pod waits for what it was told to believe"
    assert mount["readOnly"] is True
    assert path == CA_BUNDLE_PATH == f"{mount['mountPath']}/{file['path']}"


def test_a_bindings_own_way_out_wins_as_a_whole() -> None:
    chosen = set_up(proxy=A_PROXY, ca_bundle=A_BUNDLE)
    silent = chosen.egress_for(a_binding())
    assert silent.proxy == egress.proxy(A_PROXY)
    assert silent.ca_bundle == egress.ca_bundle(A_BUNDLE)
    own = chosen.egress_for(a_binding(sidecar={"proxy": {"url": "http://own"}, "caBundle": {}}))
    assert own.proxy == egress.Proxy(url="http://own"), "with nobody else's exceptions"
    assert own.ca_bundle == egress.CABundle()
    assert chosen.egress_for(a_binding(sidecar={"proxy": {}})).proxy == egress.Proxy()


def test_the_way_out_outdoes_a_modules_variables() -> None:
    """Both are one process: of two with one name, Kubernetes takes the last."""
    env = [{"name": "https_proxy", "value": "http://of-the-module"}]
    binding = a_binding(
        identity={"pkcs11": {"uri": "pkcs11:token=x", "env": env}}, sidecar={"proxy": A_PROXY}
    )
    sidecar = sidecar_of(injected(binding, EVERYWHERE, SidecarDefaults(image=IMAGE)))
    assert told(sidecar)["https_proxy"] == A_PROXY["url"]


def test_nothing_of_the_node_lies_over_the_bundle() -> None:
    with pytest.raises(ValueError, match="would hide what the sidecar's own image has"):
        nodepaths.mountable("/var/run/rolesanywhere-ca-bundle")
