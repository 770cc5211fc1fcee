"""``spec.identity.pkcs11`` of a binding, read into its type.

Holds what the schema's rules hold, for bindings that no API server has looked at. Never asks
whether a module, a token or a folder is there, and never sees a PIN.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from rolesanywhere_contract.pkcs11uri import InvalidPkcs11Uri, Pkcs11Uri
from rolesanywhere_operator.domain import nodepaths, objectkeys
from rolesanywhere_operator.domain.identities import (
    CERTIFICATE_FILE,
    SOCKET_FILE,
    Device,
    InvalidIdentity,
    SecretKey,
    Server,
    TokenIdentity,
)
from rolesanywhere_operator.domain.untyped import items, mapping

# Where a p11-kit client looks for its server.
SERVER_ADDRESS: Final = "P11_KIT_SERVER_ADDRESS"

# What is the sidecar's own, the dynamic linker's and Python's: with these a variable would change
# the sidecar, not the module. And what the sidecar withholds from modules, as credentials may be.
RESERVED_PREFIXES: Final = ("ROLESANYWHERE_", "LD_", "PYTHON", "AWS_")

# Of Linux, but for root's: (gid_t) -1 means none.
GROUPS: Final = range(1, 2**31)

_AT: Final = "spec.identity.pkcs11"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESOURCE: Final = re.compile(r"[a-z0-9.-]+/[A-Za-z0-9._-]+")
_FILE: Final = re.compile(r"(?!\.{1,2}\Z)[-._A-Za-z0-9]+")
_MODULE: Final = re.compile(r"(/[^/\0]+)+")

Json = Mapping[str, Any]
T = TypeVar("T")


def parse(given: Json) -> TokenIdentity:
    """The identity that ``given`` is. Raises `InvalidIdentity` with every mistake at once."""
    mistakes: list[str] = []

    def read(name: str, reader: Callable[[Any], T], otherwise: T) -> T:
        try:
            return reader(given.get(name))
        except (InvalidPkcs11Uri, ValueError) as wrong:
            mistakes.append(f"{_AT}.{name}: {wrong}")
            return otherwise

    server = read("server", _server, None)
    device = read("device", _device, None)
    identity = TokenIdentity(
        uri=read("uri", _uri, Pkcs11Uri()),
        module=read("modulePath", _module, None),
        pin=read("pinSecretRef", _pin, None),
        certificate=read("certificateSecretRef", _certificate, None),
        reach=server or device,
        host_paths=read("hostPaths", _host_paths, ()),
        env=read("env", _environment, ()),
        group=read("runAsGroup", _group, None),
    )
    mistakes += _disagreements(given, identity)
    if mistakes:
        raise InvalidIdentity(*mistakes)
    return identity


def _disagreements(given: Json, identity: TokenIdentity) -> Iterator[str]:
    if given.get("server") and given.get("device"):
        yield f"{_AT}: has server and device, expected one; a token is reached in one way"
    if given.get("server") and any(name == SERVER_ADDRESS for name, _ in identity.env):
        yield f"{_AT}.env: {SERVER_ADDRESS} is set by the operator for server; leave it out"


def _uri(value: Any) -> Pkcs11Uri:
    uri = Pkcs11Uri.configured(
        _text(value, "a PKCS#11 URI such as pkcs11:token=node"), of="private"
    )
    if uri.pin_value is not None or uri.pin_source is not None:
        raise ValueError(
            "holds a PIN or where to find one; put the PIN into a Secret, name that in"
            " pinSecretRef, and leave it out here"
        )
    return uri


def _module(value: Any) -> str | None:
    if value in (None, ""):
        return None
    path = _text(value, "the absolute path of a file")
    if not _MODULE.fullmatch(path) or ".." in path.split("/"):
        raise ValueError(f"{path!r} is not the absolute path of a file, without ..")
    return path


def _pin(value: Any) -> SecretKey | None:
    return None if value is None else SecretKey(**objectkeys.read(value, "Secret"))


def _certificate(value: Any) -> SecretKey | None:
    if value is None:
        return None
    return SecretKey(**objectkeys.read(value, "Secret", key=CERTIFICATE_FILE))


def _server(value: Any) -> Server | None:
    if value is None:
        return None
    given = mapping(value)
    name = given.get("socketName") or SOCKET_FILE
    if not isinstance(name, str) or not _FILE.fullmatch(name):
        raise ValueError(f"socketName is {name!r}, expected the name of a file, without a path")
    directory = _text(given.get("socketDirectory"), "socketDirectory, a folder of the node")
    return Server(socket_directory=nodepaths.checked(directory), socket_name=name)


def _device(value: Any) -> Device | None:
    if value is None:
        return None
    name = _text(mapping(value).get("resourceName"), "resourceName, such as example.com/tpm")
    if not _RESOURCE.fullmatch(name):
        raise ValueError(
            f"resourceName is {name!r}, expected an extended resource, <domain>/<name>"
        )
    return Device(resource_name=name)


def _host_paths(value: Any) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            nodepaths.mountable(_text(one, "folders of the node")) for one in items(value)
        )
    )


def _environment(value: Any) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for one in map(mapping, items(value)):
        name = one.get("name")
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a variable, letters, digits and '_'")
        if name.startswith(RESERVED_PREFIXES):
            raise ValueError(
                f"{name} begins with one of {', '.join(RESERVED_PREFIXES)}, which are not the"
                " module's; expected a variable that the module reads"
            )
        found[name] = str(one.get("value") or "")
    return tuple(found.items())


def _group(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value not in GROUPS:
        raise ValueError(f"got {value!r}, expected a group's number, {GROUPS[0]} to {GROUPS[-1]}")
    return value


def _text(value: object, expected: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"is missing or no text, expected {expected}")
    return value
