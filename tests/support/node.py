"""AWS's JavaScript SDKs, installed once by npm from the committed lock into the cache.

Versions and hashes come from ``tests/clients/js`` alone; nothing is written into the checkout.
"""

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.support.cache import cache_dir
from tests.support.tools import ToolMissing

SOURCE: Final = Path(__file__).parents[1] / "clients" / "js"
FILES: Final = ("package.json", "package-lock.json", ".npmrc")

# What the SDK for JavaScript v3 asks for.
OLDEST_MAJOR: Final = 20
TIMEOUT_SECONDS: Final = 600


def interpreter() -> Path:
    """Node.js, with the SDKs installed where `surroundings` says. Raises `ToolMissing`."""
    node = _node()
    install()
    return node


def surroundings() -> dict[str, str]:
    """The environment in which a script finds the SDKs."""
    return {"NODE_PATH": str(_home() / "node_modules")}


def install() -> None:
    """Install the SDKs unless they are there. Raises `ToolMissing`."""
    home = _home()
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_name(f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            _install(home)


def _home() -> Path:
    """A folder that changes whenever anything that decides its content does."""
    recipe = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in FILES))
    return cache_dir() / "node" / f"aws-sdks-{recipe.hexdigest()[:12]}"


def _node() -> Path:
    found = shutil.which("node")
    if found is None:
        raise ToolMissing("node is not installed, and the JavaScript SDKs run on it: run make test")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"v(\d+)\.", told)
    if version is None or int(version[1]) < OLDEST_MAJOR:
        raise ToolMissing(f"node is {told.strip()}, expected {OLDEST_MAJOR} or newer")
    return Path(found)


def _install(home: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ToolMissing("npm is not installed, and the JavaScript SDKs come by it: run make test")
    print("installing AWS's JavaScript SDKs (once)", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
        for name in FILES:
            shutil.copy(SOURCE / name, scratch)
        # Without scripts: what is installed here runs only when a test runs it.
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, cwd=scratch, capture_output=True, text=True, check=False,
            timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
        if done.returncode:
            last = " / ".join(done.stderr.strip().splitlines()[-3:])
            raise ToolMissing(f"npm could not install the JavaScript SDKs: {last}")
        shutil.copytree(scratch, home, symlinks=True)
