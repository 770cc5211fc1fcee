"""Tools written in Go, built once from the modules under ``tests/tools`` into the cache.

Versions come from the committed ``go.mod`` and ``go.sum`` alone; nothing here chooses, edits or
upgrades one, and nothing is written into the checkout. A module may also hold a tool of our own:
that is built anew when its files change.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.cache import cache_dir
from tests.support.tools import ToolMissing

TOOLS = Path(__file__).parents[1] / "tools"

# Instead of a version, for what is no module's but ours.
OURS = "ours"

# Kubernetes from nothing takes minutes on two cores; past this, the build hangs.
BUILD_TIMEOUT_SECONDS = 1800

_REQUIREMENT = re.compile(r"^\s*(?:require\s+)?(?P<path>[\w.~/-]+\.[\w.~/-]+)\s+(?P<version>v\S+)")
_MODULE = re.compile(r"^module\s+(?P<path>\S+)", re.MULTILINE)
_MAJOR_VERSION = re.compile(r"v\d+")


def build(
    module: str,
    package: str,
    *,
    cgo: bool = False,
    ldflags: Sequence[str] = (),
    tags: Sequence[str] = (),
    timeout: float = BUILD_TIMEOUT_SECONDS,
) -> Path:
    """The binary of ``package`` as pinned by ``tests/tools/<module>``, built if not yet cached.

    ``ldflags`` are added to ``-s -w`` (``-X name=value`` stamps a version); ``tags`` are the
    build's; ``timeout`` is in seconds. Raises ``ToolMissing`` when go is missing or too old, or
    the build fails.
    """
    source = TOOLS / module
    flags = ["-ldflags", " ".join(["-s", "-w", *ldflags])]
    flags += ["-tags", ",".join(tags)] if tags else []
    home = _home_of(source, package, cgo=cgo, flags=["-s", "-w", *ldflags, *tags])
    binary = home / _binary_name(package)
    binary.parent.mkdir(parents=True, exist_ok=True)
    with _locked(binary.with_name(f"{binary.name}.lock")):
        if not binary.exists():
            title = f"{package} {_required_version(source, package)}"
            _build(source, package, binary, title=title, cgo=cgo, flags=flags, timeout=timeout)
    return binary


def build_program(source: Path, *, timeout: float = BUILD_TIMEOUT_SECONDS) -> Path:
    """The binary of the program of our own in ``source``, a module, built if not yet cached.

    Raises ``ToolMissing`` as `build` does.
    """
    recipe = hashlib.sha256()
    for file in sorted(source.glob("go.*")) + sorted(source.glob("*.go")):
        recipe.update(file.read_bytes())
    binary = cache_dir() / "bin" / f"{source.name}-{recipe.hexdigest()[:12]}" / source.name
    binary.parent.mkdir(parents=True, exist_ok=True)
    with _locked(binary.with_name(f"{binary.name}.lock")):
        if not binary.exists():
            title = f"{source.parent.name}/{source.name}"
            flags = ["-ldflags", "-s -w"]
            _build(source, ".", binary, title=title, cgo=False, flags=flags, timeout=timeout)
    return binary


def source_file(module: str, package: str, path: str) -> Path:
    """The file ``path`` of ``package``, as pinned by ``tests/tools/<module>``, copied to the cache.

    Raises ``ToolMissing`` when go is missing or the module cannot be fetched.
    """
    source = TOOLS / module
    version = _required_version(source, package)
    copy = cache_dir() / "modules" / f"{source.name}-{version}" / Path(path).name
    copy.parent.mkdir(parents=True, exist_ok=True)
    with _locked(copy.with_name(f"{copy.name}.lock")):
        if not copy.exists():
            _copy(_downloaded(source, package) / path, copy)
    return copy


def pinned_version(module: str, package: str) -> str:
    """The version of ``package``'s module in ``tests/tools/<module>/go.mod``, e.g. ``v1.8.4``."""
    return _required_version(TOOLS / module, package)


def _required_version(source: Path, package: str) -> str:
    """The longest required module path that ``package`` lies in decides, as it does for go."""
    found: dict[str, str] = {}
    content = (source / "go.mod").read_text()
    if (ours := _MODULE.search(content)) and _lies_in(package, ours["path"]):
        return OURS
    for line in content.splitlines():
        if match := _REQUIREMENT.match(line):
            found[match["path"]] = match["version"]
    owners = [path for path in found if _lies_in(package, path)]
    if not owners:
        raise ToolMissing(f"{source / 'go.mod'} requires no module that holds {package}: add it")
    return found[max(owners, key=len)]


def _lies_in(package: str, module: str) -> bool:
    return f"{package}/".startswith(f"{module}/")


def _home_of(source: Path, package: str, *, cgo: bool, flags: Sequence[str]) -> Path:
    """A folder that changes whenever anything that decides the binary's bytes does."""
    recipe = hashlib.sha256(repr((package, cgo, list(flags))).encode())
    for path in sorted(source.rglob("*")):
        if path.name in {"go.mod", "go.sum"} or path.suffix == ".go":
            recipe.update(path.read_bytes())
    version = _required_version(source, package)
    return cache_dir() / "bin" / f"{source.name}-{version}-{recipe.hexdigest()[:12]}"


def _binary_name(package: str) -> str:
    """What ``go build`` would call it: the last part of the path that is not a major version."""
    *parents, last = package.split("/")
    return parents[-1] if parents and _MAJOR_VERSION.fullmatch(last) else last


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path``: two test runs at once build once."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(
    source: Path,
    package: str,
    binary: Path,
    *,
    title: str,
    cgo: bool,
    flags: Sequence[str],
    timeout: float,
) -> None:
    go = shutil.which("go")
    if go is None:
        name = binary.name
        raise ToolMissing(f"go is not installed, and {name} is built with it; install Go 1.26")
    print(f"building {title} (once)", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=binary.parent) as scratch:
        fresh = Path(scratch) / binary.name
        _run_go([go, "build", "-trimpath", *flags, "-o", str(fresh), package],
                source, binary.name, cgo=cgo, timeout=timeout)  # fmt: skip
        fresh.replace(binary)


def _downloaded(source: Path, package: str) -> Path:
    """Where go keeps the module ``package``, whose sum ``go.sum`` holds."""
    go = shutil.which("go")
    if go is None:
        raise ToolMissing(f"go is not installed, and fetches {package}; install Go 1.26")
    told = _run_go([go, "mod", "download", "-json", package], source, package, cgo=False,
                   timeout=BUILD_TIMEOUT_SECONDS)  # fmt: skip
    return Path(json.loads(told)["Dir"])


def _copy(file: Path, to: Path) -> None:
    """Whole or not at all."""
    with tempfile.TemporaryDirectory(dir=to.parent) as scratch:
        fresh = Path(scratch) / to.name
        fresh.write_bytes(file.read_bytes())
        fresh.replace(to)


def _run_go(command: list[str], source: Path, name: str, *, cgo: bool, timeout: float) -> str:
    """What go says. Raises ``ToolMissing`` when it fails."""
    environment = {**os.environ, "CGO_ENABLED": "1" if cgo else "0"}
    try:
        done = subprocess.run(
            command, cwd=source, env=environment, capture_output=True, text=True,
            check=False, timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ToolMissing(f"go did not finish building {name} in {timeout:.0f} seconds") from None
    if done.returncode != 0:
        raise ToolMissing(_why(name, done.stderr))
    return done.stdout


def _why(name: str, stderr: str) -> str:
    """One sentence for the commonest causes, and always go's own last lines."""
    if "requires go >=" in stderr:
        cause = "the installed go is too old"
    elif "C compiler" in stderr:
        cause = "cgo needs a C compiler, e.g. gcc"
    elif "proxy" in stderr or "dial tcp" in stderr or "missing go.sum" in stderr:
        cause = "a module could not be fetched"
    else:
        cause = "go build failed"
    return f"{name} cannot be built: {cause}: " + " / ".join(stderr.strip().splitlines()[-4:])
