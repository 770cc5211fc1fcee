"""What the operator's processes are told."""

from pathlib import Path

import pytest

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_operator.settings import ControllerSettings, WebhookSettings

IMAGE = {"ROLESANYWHERE_OPERATOR_SIDECAR_IMAGE": "registry.example/sidecar:1"}


def test_every_mistake_is_named_at_once() -> None:
    env = {
        "ROLESANYWHERE_OPERATOR_LOG_LEVEL": "loud",
        "ROLESANYWHERE_OPERATOR_PORT": "65536",
        "ROLESANYWHERE_OPERATOR_PROBE_PORT": "-1",
    }
    with pytest.raises(InvalidSettings) as caught:
        WebhookSettings.from_env(env)
    assert len(caught.value.mistakes) == 4
    for name in (*env, *IMAGE):
        assert name in str(caught.value)


def test_empty_is_unset() -> None:
    env = IMAGE | {"KUBECONFIG": "", "ROLESANYWHERE_OPERATOR_LOG_LEVEL": ""}
    assert WebhookSettings.from_env(env) == WebhookSettings.from_env(IMAGE)


def test_a_kubeconfig_goes_by_its_usual_name() -> None:
    settings = WebhookSettings.from_env(IMAGE | {"KUBECONFIG": "/tmp/kubeconfig"})  # noqa: S108
    assert settings.kubeconfig == Path("/tmp/kubeconfig")  # noqa: S108


@pytest.mark.parametrize("text", ["2", "301", "15s", "1.5"])
def test_a_lease_has_its_limits(text: str) -> None:
    env = {
        "ROLESANYWHERE_OPERATOR_NAMESPACE": "rolesanywhere",
        "ROLESANYWHERE_OPERATOR_LEASE_DURATION_SECONDS": text,
    }
    with pytest.raises(InvalidSettings, match="length in seconds, expected 3 to 300"):
        ControllerSettings.from_env(env)


CONTROLLER = {"ROLESANYWHERE_OPERATOR_NAMESPACE": "rolesanywhere"}


def test_the_settings_of_the_webhooks_certificate_go_together() -> None:
    assert ControllerSettings.from_env(CONTROLLER).webhook_secret is None
    with pytest.raises(InvalidSettings) as caught:
        ControllerSettings.from_env(
            CONTROLLER | {"ROLESANYWHERE_OPERATOR_WEBHOOK_SECRET": "webhook-tls"}
        )
    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == [
        "ROLESANYWHERE_OPERATOR_WEBHOOK_CONFIGURATION",
        "ROLESANYWHERE_OPERATOR_WEBHOOK_HOSTS",
    ]


def test_hosts_are_names_and_addresses() -> None:
    given = {
        "ROLESANYWHERE_OPERATOR_WEBHOOK_SECRET": "webhook-tls",
        "ROLESANYWHERE_OPERATOR_WEBHOOK_CONFIGURATION": "rolesanywhere",
        "ROLESANYWHERE_OPERATOR_WEBHOOK_HOSTS": "webhook.aws.svc, 127.0.0.1,::1",
    }
    settings = ControllerSettings.from_env(CONTROLLER | given)
    assert settings.webhook_hosts == frozenset({"webhook.aws.svc", "127.0.0.1", "::1"})
    given["ROLESANYWHERE_OPERATOR_WEBHOOK_HOSTS"] = "webhook.aws.svc,"
    with pytest.raises(InvalidSettings, match="'' is not a host"):
        ControllerSettings.from_env(CONTROLLER | given)
