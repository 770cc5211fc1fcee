"""Folders of the node that a sidecar may be given, as paths: which make sense.

Never looks at a node: whether a folder is there is found out by its kubelet.
"""

import re
from posixpath import normpath
from typing import Final

from rolesanywhere_contract.names import (
    CA_BUNDLE_DIRECTORY,
    IDENTITY_DIRECTORY,
    PKCS11_DIRECTORY,
    TOKEN_DIRECTORY,
)

LONGEST: Final = 1024

# A comma ends a path in the operator's settings.
_PATH: Final = re.compile(r"(/[^/,\0]+)+")

# What the sidecar itself runs on: nothing of the node may lie over it, in it or above it.
_OURS: Final = (
    "/app", "/dev", "/proc", "/sys", "/run/secrets", "/var/run/secrets",
    IDENTITY_DIRECTORY, TOKEN_DIRECTORY, PKCS11_DIRECTORY, CA_BUNDLE_DIRECTORY,
)  # fmt: skip
# These have much in them that it needs, and room for what is the vendor's below.
_SHARED: Final = (
    "/bin", "/etc", "/etc/ssl", "/lib", "/lib64", "/run", "/sbin", "/usr", "/usr/bin",
    "/usr/lib", "/usr/lib/pkcs11", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/usr/share",
    "/var", "/var/run",
)  # fmt: skip
# The C library, and Python.
_LOADED: Final = re.compile(r"(/usr)?(/local)?/lib/([^/]+-linux-[^/]+|python3?[.0-9]*(/.*)?)")


def checked(path: str) -> str:
    """``path`` if it can be a folder of a node. Raises ValueError, which says what it is not."""
    if not _PATH.fullmatch(path) or normpath(path) != path or len(path) > LONGEST:
        raise ValueError(
            f"{path!r} is not a folder of a node, expected an absolute path without .., //, comma"
            " or a / at its end, and not / itself"
        )
    return path


def mountable(path: str) -> str:
    """``path`` if the sidecar can have it under the same name. Raises ValueError."""
    checked(path)
    whole = f"{path}/"
    over = any(whole.startswith(f"{one}/") or f"{one}/".startswith(whole) for one in _OURS)
    if over or path in _SHARED or _LOADED.fullmatch(path):
        raise ValueError(
            f"{path!r} would hide what the sidecar's own image has there, expected a folder of the"
            " vendor's own, such as /opt/vendor"
        )
    return path
