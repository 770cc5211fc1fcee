"""How a sidecar reaches AWS: through which proxy, and by whose word on TLS.

Bindings and whoever runs the operator say it in the same words, read here alone. Never asks whether
a proxy answers, or a ConfigMap or a Secret is there: that, each pod finds out.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from rolesanywhere_contract.hosts import is_host
from rolesanywhere_operator.domain import objectkeys
from rolesanywhere_operator.domain.identities import SecretKey

# The schemas have these patterns too. What the sidecar understands is more: see its `proxies`.
PROXY_URL: Final = r"^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?/?$"
EXCEPTION: Final = (
    r"^([*]|[*]?[.]?[A-Za-z0-9._-]+(:[0-9]{1,5}|/[0-9]{1,2})?|[0-9A-Fa-f:.]+(/[0-9]{1,3})?)$"
)
# What cert-manager and Kubernetes itself (kube-root-ca.crt) call it.
BUNDLE_KEY: Final = "ca.crt"

PORTS: Final = range(1, 65_536)

Json = Mapping[str, Any]
T = TypeVar("T")


class InvalidEgress(ValueError):
    """What was given makes no sense; ``mistakes`` has a sentence for each, from its field on."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy: its ``url``, which holds no password, or the ``secret`` that has the URL.

    With neither there is none, which is a choice as well. ``no_proxy`` is reached directly.
    """

    url: str | None = None
    secret: SecretKey | None = None
    no_proxy: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = str(self.secret or self.url or "none")
        return f"{where}, but not for {', '.join(self.no_proxy)}" if self.no_proxy else where


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMapKey:
    """One key of a ConfigMap in the pod's namespace."""

    name: str
    key: str = BUNDLE_KEY

    def __str__(self) -> str:
        return f"key {self.key} of configmap/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CABundle:
    """The authorities that are believed, and no others; without ``config_map`` the image's own,
    which is a choice as well."""

    config_map: ConfigMapKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """What was chosen for a sidecar."""

    proxy: Proxy
    ca_bundle: CABundle


def proxy(given: object) -> Proxy | None:
    """The proxy that ``given`` is, None for no word on it; ``{}`` says that there is none.

    Raises `InvalidEgress`, which repeats no URL, in whatever field: there may be a password in it.
    """
    if given is None:
        return None
    reader = _Reader(given, known=("url", "urlSecretRef", "noProxy"))
    url, secret = reader.read("url", _url), reader.read("urlSecretRef", _secret_key)
    exceptions = reader.read("noProxy", _exceptions) or ()
    if "url" in reader.given and "urlSecretRef" in reader.given:
        reader.mistakes.append("url and urlSecretRef are set, expected one of them")
    if exceptions and not reader.given.keys() & {"url", "urlSecretRef"}:
        reader.mistakes.append("noProxy is set, expected url or urlSecretRef besides")
    return reader.done(Proxy(url=url, secret=secret, no_proxy=exceptions))


def ca_bundle(given: object) -> CABundle | None:
    """The CA bundle that ``given`` is, None for no word on it; ``{}`` says the image's own.

    Raises `InvalidEgress`.
    """
    if given is None:
        return None
    reader = _Reader(given, known=("configMap",))
    return reader.done(CABundle(config_map=reader.read("configMap", _config_map_key)))


class _Reader:
    """Reads the fields of one object, and keeps every mistake."""

    def __init__(self, given: object, *, known: tuple[str, ...]) -> None:
        self.mistakes: list[str] = []
        if not isinstance(given, Mapping):
            self.mistakes.append(f"is no object, expected one of {', '.join(known)}")
        self.given: Json = _present(given)
        self.mistakes += [
            f"{_shown(name)} is not known, expected {', '.join(known)}"
            for name in self.given
            if name not in known
        ]

    def read(self, name: str, how: Callable[[Any], T]) -> T | None:
        if name not in self.given:
            return None
        try:
            return how(self.given[name])
        except ValueError as wrong:
            self.mistakes.append(f"{name} {wrong}")
            return None

    def done(self, value: T) -> T:
        if self.mistakes:
            raise InvalidEgress(*self.mistakes)
        return value


def _present(given: object) -> Json:
    if not isinstance(given, Mapping):
        return {}
    return {str(name): value for name, value in given.items() if value is not None}


def _url(value: object) -> str:
    if isinstance(value, str) and "@" in value:
        raise ValueError(
            "holds a user or a password, and a secret does not belong there: whoever reads bindings"
            " or pods could see it; put the URL into a Secret and name that in urlSecretRef"
        )
    if not isinstance(value, str) or not _is_proxy(value):
        raise ValueError("is not the URL of an HTTP proxy, expected http://<host>[:<port>]")
    return value


def _is_proxy(url: str) -> bool:
    found = re.fullmatch(PROXY_URL, url)
    if found is None:
        return False
    host, port = found[1], found[2]
    return is_host(host) and (port is None or int(port[1:]) in PORTS)


def _exceptions(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("is no list, expected one of hosts, domains, addresses and networks")
    return tuple(dict.fromkeys(_exception(one) for one in value))


def _exception(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(EXCEPTION, value):
        raise ValueError(
            f"has {_shown(repr(value))}, expected a host, a domain such as .corp.example, an"
            " address, a network such as 10.0.0.0/8, or *"
        )
    return value


def _shown(text: str) -> str:
    return "a URL" if "@" in text or "://" in text else text


def _secret_key(value: object) -> SecretKey:
    return SecretKey(**objectkeys.read(value, "Secret"))


def _config_map_key(value: object) -> ConfigMapKey:
    return ConfigMapKey(**objectkeys.read(value, "ConfigMap", key=BUNDLE_KEY))
