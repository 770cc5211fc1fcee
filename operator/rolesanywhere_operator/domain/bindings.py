"""A `RolesAnywhereBinding`, parsed once from what the API server holds.

Never asks whether the Secret exists or the role can be assumed: that needs the world.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from rolesanywhere_contract.environment import InvalidSettings
from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.names import IDENTITY_DIRECTORY, SESSION_PATH, TOKEN_PATH
from rolesanywhere_contract.settings import Settings, variable
from rolesanywhere_operator.domain import selectors
from rolesanywhere_operator.domain.selectors import Requirement
from rolesanywhere_operator.domain.untyped import items, mapping

IDENTITY_KINDS: Final = ("certManager", "secret", "csi", "podCertificate", "pkcs11")

# Where the sidecar finds its identity, whichever kind put it there.
CERTIFICATE_FILE: Final = "tls.crt"
PRIVATE_KEY_FILE: Final = "tls.key"

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


class UnsupportedIdentity(RolesAnywhereError):
    """A binding asks for a kind of identity that this version cannot provide."""

    code = "UnsupportedIdentity"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretIdentity:
    """Certificate and key are two keys of a Secret in the binding's namespace."""

    name: str
    certificate_key: str = "tls.crt"
    private_key_key: str = "tls.key"

    def __str__(self) -> str:
        return f"secret/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherIdentity:
    """A kind of identity that the schema knows and this version does not serve."""

    kind: str

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A binding that makes sense.

    ``settings`` are what its sidecars are told, but for ``role_session_name``, a template that
    only a pod can fill. ``identity`` as text is what ``status.identity.source`` shows.
    """

    namespace: str
    name: str
    generation: int
    settings: Settings
    role_session_name: str | None
    requirements: tuple[Requirement, ...]
    service_account_names: frozenset[str]
    allow_shared_process_namespace: bool
    identity: SecretIdentity | OtherIdentity
    sidecar_image: str | None
    sidecar_resources: Mapping[str, Any] | None


Entry = Binding | InvalidBinding


def parse(raw: Mapping[str, Any]) -> Binding:
    """The binding that ``raw`` is. Raises `InvalidBinding` that names every mistake at once."""
    spec = mapping(raw.get("spec"))
    metadata = mapping(raw.get("metadata"))
    sidecar = mapping(spec.get("sidecar"))
    generation = metadata.get("generation")
    mistakes: list[str] = []
    settings = _tried(mistakes, lambda: _settings(spec))
    session_name = _tried(mistakes, lambda: _session_name(spec.get("roleSessionName")))
    requirements = _tried(mistakes, lambda: _requirements(mapping(spec.get("podSelector"))))
    identity = _tried(mistakes, lambda: _identity(mapping(spec.get("identity"))))
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
        sidecar_image=_text(sidecar.get("image")) or None,
        sidecar_resources=mapping(sidecar.get("resources")) or None,
    )


def read(raw: Mapping[str, Any]) -> Entry:
    """The binding that ``raw`` is, or what is wrong with it: one bad binding hides no other."""
    try:
        return parse(raw)
    except InvalidBinding as wrong:
        return wrong


def unsupported(binding: Binding) -> UnsupportedIdentity | None:
    """Why this version cannot serve ``binding``, if it cannot."""
    if isinstance(binding.identity, SecretIdentity):
        return None
    return UnsupportedIdentity(
        f"identity.{binding.identity.kind} is not supported by this version",
        hint="use identity.secret",
    )


def _tried(mistakes: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except InvalidBinding as wrong:
        mistakes.extend(wrong.mistakes)
        return None


def _settings(spec: Mapping[str, Any]) -> Settings:
    """What the sidecar is told, read by the reader that the sidecar itself uses."""
    given = {name: _text(_at(spec, path)) for name, path in _FIELDS.items()}
    fixed = {
        "certificate": f"{IDENTITY_DIRECTORY}/{CERTIFICATE_FILE}",
        "private_key": f"{IDENTITY_DIRECTORY}/{PRIVATE_KEY_FILE}",
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


def _identity(identity: Mapping[str, Any]) -> SecretIdentity | OtherIdentity:
    kinds = [kind for kind in IDENTITY_KINDS if identity.get(kind) is not None]
    if len(kinds) != 1:
        got = ", ".join(kinds) or "none"
        raise InvalidBinding(
            (f"spec.identity: got {got}, expected exactly one of {', '.join(IDENTITY_KINDS)}",)
        )
    if kinds != ["secret"]:
        return OtherIdentity(kind=kinds[0])
    secret = mapping(identity["secret"])
    if not secret.get("name"):
        raise InvalidBinding(("spec.identity.secret.name: is missing, expected a Secret's name",))
    return SecretIdentity(
        name=str(secret["name"]),
        certificate_key=str(secret.get("certificateKey") or CERTIFICATE_FILE),
        private_key_key=str(secret.get("privateKeyKey") or PRIVATE_KEY_FILE),
    )


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
