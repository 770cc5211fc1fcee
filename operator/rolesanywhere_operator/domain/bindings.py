"""A `RolesAnywhereBinding`, parsed once from what the API server holds.

Never asks whether the Secret exists or the role can be assumed: that needs the world.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.names import (
    IDENTITY_DIRECTORY,
    PIN_LATCH_PATH,
    SESSION_PATH,
    TOKEN_PATH,
)
from rolesanywhere_contract.settings import Settings, variable
from rolesanywhere_operator.domain import egress, identityspec, selectors
from rolesanywhere_operator.domain.certnames import DEFAULT_TRUST_DOMAIN
from rolesanywhere_operator.domain.egress import CABundle, InvalidEgress, Proxy
from rolesanywhere_operator.domain.identities import (
    CERTIFICATE_FILE,
    CLIENT_MODULE,
    PIN_FILE,
    PRIVATE_KEY_FILE,
    Identity,
    InvalidIdentity,
    Server,
    TokenIdentity,
)
from rolesanywhere_operator.domain.identityspec import Owner
from rolesanywhere_operator.domain.selectors import Requirement
from rolesanywhere_operator.domain.untyped import items, mapping

# The setting of the sidecar that each field of the spec becomes.
_FIELDS: Final[Mapping[str, str]] = {
    "trust_anchor_arn": "spec.trustAnchorArn",
    "profile_arn": "spec.profileArn",
    "role_arn": "spec.roleArn",
    "region": "spec.region",
    "endpoint": "spec.endpoint",
    "duration_seconds": "spec.durationSeconds",
    "imds": "spec.imds",
    "port": "spec.sidecar.port",
    "log_level": "spec.sidecar.logLevel",
}
_SESSION_NAME = re.compile(r"(?:[\w+=,.@-]|\{(?:namespace|pod|serviceAccount)\}){1,64}", re.ASCII)

T = TypeVar("T")


class InvalidBinding(RolesAnywhereError):
    """A binding makes no sense; ``mistakes`` has a sentence for each."""

    code = "InvalidBinding"

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class HostPathNotAllowed(RolesAnywhereError):
    """A binding needs folders of the node that are not on the operator's list."""

    code = "HostPathNotAllowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A binding that makes sense.

    ``settings`` are what its sidecars are told, but for ``role_session_name``, a template that
    only a pod can fill. ``sidecar_image`` and what follows it are None where it leaves them to
    `SidecarDefaults`. ``identity`` as text is what ``status.identity.source`` shows.
    ``denied_paths`` are the folders of the node that it needs and the operator does not allow.
    """

    namespace: str
    name: str
    generation: int
    settings: Settings
    role_session_name: str | None
    requirements: tuple[Requirement, ...]
    service_account_names: frozenset[str]
    allow_shared_process_namespace: bool
    identity: Identity
    denied_paths: tuple[str, ...]
    sidecar_image: str | None
    sidecar_resources: Mapping[str, Any] | None
    sidecar_log_level: str | None
    sidecar_proxy: Proxy | None
    sidecar_ca_bundle: CABundle | None

    def __hash__(self) -> int:
        # Of what tells bindings apart: what pods of one share is kept by it (`manifests`), and to
        # go through all of it each time takes longer than to make that anew.
        return hash((self.namespace, self.name, self.generation))


Entry = Binding | InvalidBinding


def parse(
    raw: Mapping[str, Any],
    *,
    trust_domain: str = DEFAULT_TRUST_DOMAIN,
    host_paths: frozenset[str] | None = None,
) -> Binding:
    """The binding that ``raw`` is. Raises `InvalidBinding` that names every mistake at once.

    ``trust_domain`` is the cluster's, of which certificates get their SPIFFE IDs, and
    ``host_paths`` are the folders of nodes that its sidecars may have; None where nobody knows.
    """
    spec = mapping(raw.get("spec"))
    metadata = mapping(raw.get("metadata"))
    sidecar = mapping(spec.get("sidecar"))
    generation = metadata.get("generation")
    mistakes: list[str] = []
    identity = _tried(mistakes, lambda: _identity(spec, metadata, trust_domain))
    settings = _tried(mistakes, lambda: _settings(spec, identity))
    session_name = _tried(mistakes, lambda: _session_name(spec.get("roleSessionName")))
    requirements = _tried(mistakes, lambda: _requirements(mapping(spec.get("podSelector"))))
    proxy = _tried(mistakes, lambda: _egress(sidecar, "proxy", egress.proxy))
    ca_bundle = _tried(mistakes, lambda: _egress(sidecar, "caBundle", egress.ca_bundle))
    if mistakes or settings is None or requirements is None or identity is None:
        raise InvalidBinding(tuple(mistakes))
    return Binding(
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or ""),
        generation=generation if isinstance(generation, int) else 0,
        settings=settings,
        role_session_name=session_name,
        requirements=requirements,
        service_account_names=frozenset(map(str, items(spec.get("serviceAccountNames")))),
        allow_shared_process_namespace=spec.get("allowSharedProcessNamespace") is True,
        identity=identity,
        denied_paths=tuple(_denied(identity, host_paths)),
        sidecar_image=_text(sidecar.get("image")) or None,
        sidecar_resources=mapping(sidecar.get("resources")) or None,
        sidecar_log_level=_text(sidecar.get("logLevel")) or None,
        sidecar_proxy=proxy,
        sidecar_ca_bundle=ca_bundle,
    )


def read(
    raw: Mapping[str, Any],
    *,
    trust_domain: str = DEFAULT_TRUST_DOMAIN,
    host_paths: frozenset[str] | None = None,
) -> Entry:
    """The binding that ``raw`` is, or what is wrong with it: one bad binding hides no other."""
    try:
        return parse(raw, trust_domain=trust_domain, host_paths=host_paths)
    except InvalidBinding as wrong:
        return wrong


def folders(binding: Binding) -> tuple[str, ...]:
    """The folders of the node that ``binding`` gives its pods, each as a hostPath volume."""
    identity = binding.identity
    return identity.folders if isinstance(identity, TokenIdentity) else ()


def not_allowed(binding: Binding) -> HostPathNotAllowed | None:
    """Why ``binding`` cannot be served in this cluster, if it cannot."""
    if not binding.denied_paths:
        return None
    return HostPathNotAllowed(
        f"identity.pkcs11 needs {' and '.join(binding.denied_paths)} of the node, and the operator"
        " does not allow that",
        hint="whoever runs the operator can add it to pkcs11.hostPaths of its chart, for namespaces"
        " whose Pod Security is privileged: baseline and restricted refuse hostPath volumes",
    )


def _tried(mistakes: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except InvalidBinding as wrong:
        mistakes.extend(wrong.mistakes)
        return None


def _settings(spec: Mapping[str, Any], identity: Identity | None) -> Settings:
    """What the sidecar is told, read by the reader that the sidecar itself uses.

    Without an identity, which is a mistake of its own, it still finds the other mistakes.
    """
    given = {name: _text(_at(spec, path)) for name, path in _FIELDS.items()}
    fixed = {
        **_places(identity),
        "token_file": TOKEN_PATH,
        # Beside the token: whoever can read this folder may ask for the session anyway, and nobody
        # but the sidecar can write there. The file itself is its user's alone.
        "session_file": SESSION_PATH,
    }
    env = {variable(name): text for name, text in (given | fixed).items()}
    try:
        return Settings.from_env(env, called=_called)
    except InvalidSettings as wrong:
        raise InvalidBinding(wrong.mistakes) from wrong


def _places(identity: Identity | None) -> dict[str, str]:
    """Where the sidecar finds certificate and key."""
    match identity:
        case None:
            return {"certificate": _path(CERTIFICATE_FILE), "private_key": _path(PRIVATE_KEY_FILE)}
        case TokenIdentity():
            return _token_places(identity)
        case _:
            return {
                "certificate": _path(identity.certificate_file),
                "private_key": _path(identity.private_key_file),
            }


def _token_places(identity: TokenIdentity) -> dict[str, str]:
    # The URI is the key's; a certificate beside it has another type, and the rest in common.
    beside = str(replace(identity.uri, type=None))
    client = CLIENT_MODULE if isinstance(identity.reach, Server) else ""
    return {
        "certificate": _path(CERTIFICATE_FILE) if identity.certificate else beside,
        "private_key": str(identity.uri),
        "pkcs11_module": identity.module or client,
        "pin_file": _path(PIN_FILE) if identity.pin else "",
        "pin_latch_file": PIN_LATCH_PATH if identity.pin else "",
    }


def _denied(identity: Identity, allowed: frozenset[str] | None) -> list[str]:
    if allowed is None or not isinstance(identity, TokenIdentity):
        return []
    return [path for path in identity.folders if path not in allowed]


def _path(file: str) -> str:
    return f"{IDENTITY_DIRECTORY}/{file}"


def _called(name: str) -> str:
    return _FIELDS.get(name, f"the sidecar's {name.replace('_', ' ')}")


def _session_name(template: object) -> str | None:
    if template is None or template == "":
        return None
    if not isinstance(template, str) or not _SESSION_NAME.fullmatch(template):
        raise InvalidBinding(
            (
                f"spec.roleSessionName: {template!r} is not a session name, expected 1 to 64 of"
                " A-Za-z0-9_+=,.@- and the words {namespace}, {pod}, {serviceAccount}",
            )
        )
    return template


def _requirements(selector: Mapping[str, Any]) -> tuple[Requirement, ...]:
    try:
        return selectors.parse(selector)
    except ValueError as wrong:
        raise InvalidBinding((f"spec.podSelector.{wrong}",)) from wrong


def _identity(spec: Mapping[str, Any], metadata: Mapping[str, Any], trust_domain: str) -> Identity:
    owner = Owner(
        namespace=str(metadata.get("namespace") or ""),
        binding=str(metadata.get("name") or ""),
        trust_domain=trust_domain,
    )
    try:
        return identityspec.parse(mapping(spec.get("identity")), owner)
    except InvalidIdentity as wrong:
        raise InvalidBinding(wrong.mistakes) from wrong


def _egress(sidecar: Mapping[str, Any], field: str, read: Callable[[object], T]) -> T:
    try:
        return read(sidecar.get(field))
    except InvalidEgress as wrong:
        mistakes = (f"spec.sidecar.{field}: {mistake}" for mistake in wrong.mistakes)
        raise InvalidBinding(tuple(mistakes)) from wrong


def _at(spec: Mapping[str, Any], path: str) -> object:
    """The value at ``path``, which begins with ``spec``; None where a step is missing."""
    value: object = spec
    for step in path.split(".")[1:]:
        value = mapping(value).get(step)
    return value


def _text(value: object) -> str:
    """``value`` as an environment variable would spell it; absent is empty."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
