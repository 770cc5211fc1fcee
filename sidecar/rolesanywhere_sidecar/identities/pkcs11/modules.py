"""Which module is loaded, and where a refused PIN is remembered, unless a setting says so.

Reads nothing: what exists is asked of the caller.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from rolesanywhere_sidecar.identities.pkcs11.errors import ModuleUnusable

# What other programs take a module from, too.
VARIABLE: Final = "PKCS11_MODULE"

# p11-kit's proxy shows the tokens of every module that the machine's administrator has set up:
# Debian and Ubuntu by processor, then Fedora, Alpine and Arch, what is built by hand, Homebrew.
PROXIES: Final = (
    "/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so",
    "/usr/lib/aarch64-linux-gnu/p11-kit-proxy.so",
    "/usr/lib/arm-linux-gnueabihf/p11-kit-proxy.so",
    "/usr/lib64/p11-kit-proxy.so",
    "/usr/lib/p11-kit-proxy.so",
    "/usr/local/lib/p11-kit-proxy.so",
    "/opt/homebrew/lib/p11-kit-proxy.so",
)


def module(setting: str | None, env: Mapping[str, str], *, exists: Callable[[str], bool]) -> str:
    """The path of the module. Raises `ModuleUnusable` where none is set and none is usual."""
    if named := setting or env.get(VARIABLE):
        return named
    found = next(filter(exists, PROXIES), None)
    if found is None:
        raise ModuleUnusable(
            "a pkcs11: URI is set, but no PKCS#11 module, and p11-kit's proxy is in none of its"
            " usual places",
            hint="name the token's module as --pkcs11-lib, or install p11-kit",
        )
    return found


def latch_path(setting: str | None, env: Mapping[str, str]) -> Path | None:
    """The file of the PIN latch; by default among the user's state (XDG base directories)."""
    if setting:
        return Path(setting)
    state = env.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        home = env.get("HOME", "")
        if not home.startswith("/") or home == "/":
            return None
        state = f"{home}/.local/state"
    return Path(state) / "rolesanywhere" / "pin-latch"
