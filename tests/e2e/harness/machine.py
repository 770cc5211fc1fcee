"""Whether this machine can hold a cluster, and the packages that it takes.

Says why not in one sentence; never tries to change the machine beyond installing packages.
"""

import os
import platform
from typing import Final

from tests.e2e.harness import cgroups
from tests.support import debian
from tests.support.tools import ToolMissing

PACKAGES: Final = (
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "conntrack",
    "iproute2",
    "util-linux",
    "gcc",
    "libc6-dev",
)


def prepare() -> None:
    """Have all packages installed. Raises `ToolMissing` where no cluster can run."""
    if reason := unfit():
        raise ToolMissing(f"no cluster can run here: {reason}")
    debian.packages(*PACKAGES)


def unfit() -> str:
    """Why no cluster can run on this machine; empty when one can."""
    if platform.system() != "Linux":
        return f"this is {platform.system()}, and a kubelet needs Linux"
    if os.geteuid() != 0:
        return "namespaces and control groups take root: run it as root"
    if not cgroups.MOUNT.is_dir() or not cgroups.trees():
        return f"no control groups are mounted at {cgroups.MOUNT}"
    unwritable = [str(tree) for tree in cgroups.trees() if not os.access(tree, os.W_OK)]
    if unwritable:
        return f"control groups are mounted read-only at {', '.join(unwritable)}"
    return ""
