"""Debian packages that tests run against, installed once where this is root with apt.

Never starts a service that a package brings: tests start what they need, and end it.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.cache import cache_dir
from tests.support.tools import ToolMissing

TIMEOUT_SECONDS: Final = 900
LOCK_SECONDS: Final = 300

# What Debian's maintainer scripts ask before they start a service; 101 means "forbidden".
POLICY: Final = Path("/usr/sbin/policy-rc.d")
FORBID: Final = "#!/bin/sh\nexit 101\n"


def packages(*names: str) -> None:
    """Have every Debian package of ``names`` installed. Raises `ToolMissing`."""
    if not missing(names):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ToolMissing(
            f"not installed: {', '.join(missing(names))}; on Debian 12 run as root: "
            f"apt-get install --no-install-recommends {' '.join(missing(names))}"
        )
    with _one_at_a_time():
        if wanted := missing(names):
            _install(wanted)


def missing(names: Sequence[str]) -> Sequence[str]:
    """Those of ``names`` that are not installed."""
    if shutil.which("dpkg-query") is None:
        return names
    told = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", *names],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    installed = {line.removeprefix("installed ") for line in told.splitlines()}
    return [name for name in names if name not in installed]


def _install(names: Sequence[str]) -> None:
    print(f"installing Debian's {', '.join(names)} (once)", file=sys.stderr)
    install = ("install", "--yes", "--no-install-recommends", *names)
    with _services_left_alone():
        # Most machines have a fresh list of packages: ask for a new one only where that fails.
        failure = _apt(*install) and (_apt("update") or _apt(*install))
    if failure:
        last = " / ".join(failure.strip().splitlines()[-3:])
        raise ToolMissing(f"apt-get could not install {', '.join(names)}: {last}")


def _apt(*arguments: str) -> str:
    """What apt-get complained about when it failed, else nothing."""
    done = subprocess.run(
        ["apt-get", "--quiet=2", "-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    return (done.stderr or f"exit code {done.returncode}") if done.returncode else ""


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Several test runs on one machine install one after the other."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "debian.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _services_left_alone() -> Iterator[None]:
    """Forbid the start of services for a while, unless the machine has a rule of its own."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text(FORBID)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
