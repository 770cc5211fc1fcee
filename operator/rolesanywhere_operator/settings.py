"""What the operator's processes are told, read from the environment once.

Never opens a file: whether a path leads anywhere is found out by who needs it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

from rolesanywhere_contract import environment
from rolesanywhere_contract.environment import (
    InvalidSettings,
    described,
    log_level,
    text,
    whole_number,
)
from rolesanywhere_operator.domain import egress, nodepaths, quantities
from rolesanywhere_operator.domain.certnames import DEFAULT_TRUST_DOMAIN, trust_domain
from rolesanywhere_operator.domain.egress import CABundle, Proxy
from rolesanywhere_operator.domain.sidecardefaults import SidecarDefaults

PREFIX: Final = "ROLESANYWHERE_OPERATOR_"

# Shorter, and one slow call to the API server costs the lead; longer, and an outage of the leader
# lasts.
LEASE_SECONDS: Final = range(3, 301)

_port = whole_number("a port", range(65_536))
_turns = whole_number("a number of turns a minute", range(100_001))
_lease_duration = whole_number("a Lease's length in seconds", LEASE_SECONDS)


def _hosts(given: str) -> frozenset[str]:
    """DNS names and IP addresses, with commas between them."""
    hosts = frozenset(host.strip() for host in given.split(","))
    for host in hosts:
        if not re.fullmatch(r"[0-9A-Za-z.:-]{1,253}", host):
            raise ValueError(f"{host!r} is not a host, expected a DNS name or an IP address")
    return hosts


def _host_paths(given: str) -> frozenset[str]:
    """Absolute paths, with commas between them."""
    return frozenset(nodepaths.checked(path.strip()) for path in given.split(","))


def _proxy(given: str) -> Proxy | None:
    return egress.proxy(_json(given, 'such as {"url": "http://proxy.example:3128"}'))


def _ca_bundle(given: str) -> CABundle | None:
    return egress.ca_bundle(_json(given, 'such as {"configMap": {"name": "ca-bundle"}}'))


def _json(given: str, expected: str) -> object:
    try:
        return json.loads(given)
    except ValueError:
        # It is not repeated: there may be a password in it.
        raise ValueError(f"is not JSON, expected {expected}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every process of the operator is told. Port 0 means any that is free."""

    log_level: str = field(
        default="info", metadata=described(log_level, "debug, info, warning or error")
    )
    kubeconfig: Path | None = field(
        default=None,
        metadata=described(
            Path, "kubeconfig file (default: the pod's own ServiceAccount)", variable="KUBECONFIG"
        ),
    )
    address: str = field(
        default="0.0.0.0",  # noqa: S104 - the API server and the kubelet come from outside the pod
        metadata=described(text, "address that all ports are opened on"),
    )
    probe_port: int = field(
        default=8081, metadata=described(_port, "plain HTTP port for /livez and /readyz")
    )
    trust_domain: str = field(
        default=DEFAULT_TRUST_DOMAIN,
        metadata=described(trust_domain, "trust domain of the SPIFFE IDs in certificates"),
    )
    host_paths: frozenset[str] | None = field(
        default=None,
        metadata=described(
            _host_paths,
            "folders of nodes that bindings may give their sidecars, with commas (default: none)",
        ),
    )

    @property
    def allowed_paths(self) -> frozenset[str]:
        """The folders of nodes that are allowed; without a list, none."""
        return self.host_paths or frozenset()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """The settings that ``env`` holds; an empty value counts as unset.

        Raises `InvalidSettings` that names every mistake at once.
        """
        values, mistakes = environment.read(fields(cls), env, prefix=PREFIX)
        if mistakes := [*mistakes, *cls.at_odds(values)]:
            raise InvalidSettings(mistakes)
        return cls(**values)

    @classmethod
    def at_odds(cls, values: Mapping[str, Any]) -> Iterator[str]:
        """A sentence for each of the ``values`` given that does not go with the rest."""
        yield from ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings(Settings):
    """What the webhook is told as well."""

    sidecar_image: str = field(
        metadata=described(text, "image of the sidecar, where a binding names none")
    )
    sidecar_pkcs11_image: str | None = field(
        default=None,
        metadata=described(
            text, "the same for keys in hardware (default: the image of the sidecar)"
        ),
    )
    sidecar_resources: Mapping[str, Any] | None = field(
        default=None,
        metadata=described(
            quantities.resources,
            "its requests and limits in JSON, where a binding has none (default: the chart's)",
        ),
    )
    sidecar_log_level: str = field(
        default="info",
        metadata=described(log_level, "how much it says, where a binding does not tell"),
    )
    sidecar_proxy: Proxy | None = field(
        default=None,
        metadata=described(
            _proxy, "HTTP proxy that leads it to AWS, in JSON as spec.sidecar.proxy (default: none)"
        ),
    )
    sidecar_ca_bundle: CABundle | None = field(
        default=None,
        metadata=described(
            _ca_bundle,
            "CA bundle for its endpoint's TLS, in JSON as spec.sidecar.caBundle (default: its"
            " image's)",
        ),
    )
    turns_per_minute: int = field(
        default=270,
        metadata=described(
            _turns, "first sessions that this replica lets pods start a minute; 0 is all at once"
        ),
    )
    port: int = field(default=9443, metadata=described(_port, "HTTPS port for admission reviews"))
    certificate: Path = field(
        default=Path("/var/run/secrets/rolesanywhere-webhook/tls.crt"),
        metadata=described(Path, "PEM file with the serving certificate and its chain"),
    )
    private_key: Path = field(
        default=Path("/var/run/secrets/rolesanywhere-webhook/tls.key"),
        metadata=described(Path, "PEM file with the serving certificate's key"),
    )

    @property
    def sidecar_defaults(self) -> SidecarDefaults:
        """What sidecars are like where their binding says nothing."""
        return SidecarDefaults(
            image=self.sidecar_image,
            pkcs11_image=self.sidecar_pkcs11_image,
            resources=self.sidecar_resources,
            log_level=self.sidecar_log_level,
            proxy=self.sidecar_proxy,
            ca_bundle=self.sidecar_ca_bundle,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings(Settings):
    """What the controller is told as well."""

    namespace: str = field(metadata=described(text, "namespace of the Lease that elects a leader"))
    lease_name: str = field(
        default="rolesanywhere-controller", metadata=described(text, "name of that Lease")
    )
    lease_duration_seconds: int = field(
        default=10,
        metadata=described(
            _lease_duration, "seconds without a sign of the leader until another leads"
        ),
    )
    webhook_secret: str | None = field(
        default=None,
        metadata=described(
            text, "Secret to keep the webhook's certificate in (default: somebody else makes it)"
        ),
    )
    webhook_configuration: str | None = field(
        default=None,
        metadata=described(
            text, "MutatingWebhookConfiguration whose caBundle has that certificate trusted"
        ),
    )
    webhook_hosts: frozenset[str] | None = field(
        default=None,
        metadata=described(
            _hosts, "names and addresses that API servers call the webhook by, with commas"
        ),
    )

    @classmethod
    def at_odds(cls, values: Mapping[str, Any]) -> Iterator[str]:
        """The three of the webhook's certificate go together."""
        together = [one for one in fields(cls) if one.name.startswith("webhook_")]
        unset = [variable(one) for one in together if one.name not in values]
        if len(unset) < len(together):
            for name in unset:
                yield f"{name}: is not set, though another of the webhook's certificate is"


def variable(setting: Field[Any]) -> str:
    """The environment variable of a setting."""
    return environment.variable(setting, prefix=PREFIX)
