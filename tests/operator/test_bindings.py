"""Bindings, parsed once."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.settings import Settings
from rolesanywhere_operator.domain import bindings
from rolesanywhere_operator.domain.bindings import InvalidBinding
from tests.operator.builders import ROLE, Json, a_binding, a_raw_binding

OPTIONAL = [
    "durationSeconds", "roleSessionName", "region", "endpoint", "podSelector",
    "serviceAccountNames", "imds", "allowSharedProcessNamespace", "sidecar",
]  # fmt: skip


def test_every_mistake_is_named_at_once_by_its_field() -> None:
    raw = a_raw_binding(
        roleArn="oops",
        durationSeconds=60,
        roleSessionName="{node}",
        podSelector={"matchExpressions": [{"key": "app", "operator": "In"}]},
        identity={},
        sidecar={"port": 9912},
    )
    with pytest.raises(InvalidBinding) as caught:
        bindings.parse(raw)
    for field in (
        "spec.roleArn", "spec.durationSeconds", "spec.roleSessionName",
        "spec.podSelector.matchExpressions", "spec.identity", "spec.sidecar.port",
    ):  # fmt: skip
        assert field in str(caught.value)
    assert len(caught.value.mistakes) == 6


def test_a_binding_of_nothing_is_invalid_and_not_a_crash() -> None:
    nothings: list[Json] = [{}, {"spec": None}, {"spec": []}, {"spec": {"identity": 3}}]
    for raw in nothings:
        with pytest.raises(InvalidBinding, match=r"spec\.trustAnchorArn"):
            bindings.parse(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@pytest.mark.parametrize("field", sorted(a_raw_binding()["spec"]) + OPTIONAL)
@settings(deadline=None, max_examples=40)
@given(value=json_values)
def test_whatever_a_field_holds_it_is_a_binding_or_a_mistake(field: str, value: object) -> None:
    # A binding that crashed its reader would take everybody's webhook down.
    raw = a_raw_binding()
    raw["spec"][field] = value
    with suppress(InvalidBinding):
        bindings.parse(raw)


def test_what_the_sidecar_is_told_survives_its_environment() -> None:
    told = a_binding(imds=False, durationSeconds=900, region="eu-central-1").settings
    assert Settings.from_env(told.to_env()) == told
    assert (str(told.role_arn), told.imds) == (ROLE, False)


def test_absent_and_empty_are_the_same() -> None:
    assert a_binding(region="", endpoint="", roleSessionName="", podSelector={}) == a_binding()


def test_a_secret_is_served_wherever() -> None:
    assert bindings.not_allowed(bindings.parse(a_raw_binding(), host_paths=frozenset())) is None
    assert str(a_binding().identity) == "secret/reports-tls"


def test_two_kinds_of_identity_are_named() -> None:
    with pytest.raises(InvalidBinding, match=r"got secret, csi, expected exactly one"):
        a_binding(identity={"csi": {}, "secret": {"name": "x"}})
