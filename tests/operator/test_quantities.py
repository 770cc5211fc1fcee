"""Requests and limits as whoever runs the operator writes them."""

import json
from decimal import Decimal
from typing import Any

import pytest

from rolesanywhere_operator.domain import quantities
from rolesanywhere_operator.domain.sidecardefaults import RESOURCES
from rolesanywhere_operator.settings import WebhookSettings
from tests.operator.builders import IMAGE, a_binding


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        ("1", "1"), ("10m", "0.01"), ("0.5", "0.5"), (".5", "0.5"), ("2.", "2"), ("1k", "1000"),
        ("64Mi", "67108864"), ("1.5Gi", "1610612736"), ("64M", "64000000"), ("1e3", "1000"),
        ("1E-2", "0.01"), ("2E", "2000000000000000000"), ("3Ei", "3458764513820540928"),
        ("5u", "0.000005"), ("7n", "0.000000007"),
    ],
)  # fmt: skip
def test_a_quantity_comes_to_what_kubernetes_makes_of_it(quantity: str, amount: str) -> None:
    assert quantities.amount(quantity) == Decimal(amount)


@pytest.mark.parametrize(
    "text", ["", "m", "64mb", "64 Mi", "-1", "1Ki2", "1ee3", "64MI", "1K", "."]
)
def test_what_is_no_quantity_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity, expected such as 10m"):
        quantities.amount(text)


def test_numbers_are_quantities_as_in_yaml() -> None:
    read = quantities.resources(
        '{"requests": {"cpu": 1, "memory": "64Mi"}, "limits": {"cpu": 1.5}}'
    )
    assert read == {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"cpu": "1.5"}}


def test_a_request_may_be_its_limit_in_other_words() -> None:
    given = {
        "requests": {"memory": "1Gi", "cpu": "1"},
        "limits": {"memory": "1024Mi", "cpu": "1000m"},
    }
    assert quantities.resources(json.dumps(given)) == given


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("64Mi", "is not JSON"),
        ("[]", "expected an object with nothing but these"),
        ({"limit": {}}, "expected an object with nothing but these"),
        ({"limits": None}, "limits is None, expected an object of quantities"),
        ({"limits": {"mem": "1Gi"}}, "limits: 'mem' is not a resource, expected cpu, memory"),
        ({"limits": {"memory": "1GB"}}, "limits.memory: '1GB' is not a quantity"),
        ({"limits": {"memory": True}}, "limits.memory: True is not a quantity"),
        ({"limits": {"memory": {}}}, "limits.memory: {} is not a quantity"),
        (
            {"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}},
            "requests.memory is 1Gi and limits.memory 1G, expected no request above its limit",
        ),
    ],
)
def test_what_the_api_server_would_refuse_in_every_pod_is_refused_at_once(
    given: Any, sentence: str
) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        quantities.resources(given if isinstance(given, str) else json.dumps(given))
    assert sentence in str(caught.value)


def settings(**given: str) -> WebhookSettings:
    env = {f"ROLESANYWHERE_OPERATOR_SIDECAR_{name.upper()}": text for name, text in given.items()}
    return WebhookSettings.from_env({"ROLESANYWHERE_OPERATOR_SIDECAR_IMAGE": IMAGE} | env)


def test_nothing_is_a_choice_and_silence_is_none() -> None:
    silent, nothing = settings().sidecar_defaults, settings(resources="{}").sidecar_defaults
    assert silent.resources_for(a_binding()) == RESOURCES
    assert nothing.resources_for(a_binding()) == {}


def test_a_binding_that_says_info_means_it() -> None:
    chatty = settings(log_level="debug").sidecar_defaults
    assert chatty.settings_for(a_binding()).log_level == "debug"
    assert chatty.settings_for(a_binding(sidecar={"logLevel": "info"})).log_level == "info"
