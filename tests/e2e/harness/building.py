"""gcc, debootstrap and buildah, called: a program, a base and an image each.

A build has the machine's network and its settings for pip, which stay out of the image. Never
decides whether something is to be built.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.harness import archives
from tests.support import debian
from tests.support.tools import ToolMissing

# Changed whenever the same packages would make another base.
RECIPE: Final = "2"
TIMEOUT_SECONDS: Final = 1800
# What no program in an image reads; Debian's own small images lack it too.
_BALLAST: Final = (
    "var/cache/apt/archives", "var/lib/apt/lists", "var/log",
    "usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man",
)  # fmt: skip


class BuildFailed(Exception):
    """What makes images is there, and what it was given is at fault; the text ends as it did."""


def compile_static(source: Path) -> bytes:
    """The program of one C file that needs no libraries. Raises `ToolMissing`, `BuildFailed`."""
    debian.packages("gcc", "libc6-dev")
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / source.stem
        run("gcc", "-static", "-Os", "-s", "-o", program, source)
        return program.read_bytes()


def bootstrap(
    archive: Path, name: str, *, suite: str, packages: Sequence[str], authorities: bytes
) -> None:
    """Debian's ``suite`` with ``packages`` and nothing beyond, as an image. A minute's work.

    ``authorities``, in PEM, are trusted besides Debian's. Raises `ToolMissing` where Debian's
    packages cannot be had, too.
    """
    debian.packages("debootstrap", "debian-archive-keyring")
    root = archive.with_suffix(".root")
    try:
        try:
            run("debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, root)
        except BuildFailed as failed:
            raise ToolMissing(f"there is no base for images: {failed}") from failed
        (root / "usr/local/share/ca-certificates/tests.crt").write_bytes(authorities)
        run("chroot", root, "update-ca-certificates")
        for path in _BALLAST:
            shutil.rmtree(root / path, ignore_errors=True)
            (root / path).mkdir()
        archives.write_tree(archive, name, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def build(
    archive: Path, name: str, *, context: Path, target: str, base: str, base_archive: Path,
    storage: Path,
) -> None:  # fmt: skip
    """``target`` of the Dockerfile in ``context`` over ``base``. Layers are kept in ``storage``.

    Raises `ToolMissing`, `BuildFailed`.
    """
    debian.packages("buildah", "runc")
    with tempfile.TemporaryDirectory() as run_root, _pip_settings() as settings:
        buildah = ("buildah", f"--root={storage}", f"--runroot={run_root}")
        run(*buildah, "pull", "--quiet", f"docker-archive:{base_archive}")
        run(
            *buildah, "build", "--quiet", "--layers", "--isolation=chroot", "--network=host",
            *(f"--volume={one}:{one}:ro" for one in _machine_files()),
            f"--volume={settings}:/etc/pip.conf:ro",
            f"--build-arg=BASE_IMAGE={base}", f"--tag={name}",
            *([f"--target={target}"] if target else []), context,
        )  # fmt: skip
        run(*buildah, "push", "--quiet", name, f"docker-archive:{archive}:{name}")


def run(*command: str | Path) -> str:
    """What it says. Raises `ToolMissing` where there is no such program, `BuildFailed` by it."""
    if shutil.which(command[0]) is None:
        raise ToolMissing(f"{command[0]} is not installed, and images are made with it")
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    if done.returncode:
        last = " / ".join((done.stderr + done.stdout).strip().splitlines()[-6:])
        raise BuildFailed(f"{' '.join(map(str, command))} failed: {last}")
    return done.stdout


def _machine_files() -> Iterator[str]:
    """Whom this machine trusts, and where it keeps packages: what its pip settings may name."""
    folders = [*os.environ.get("PIP_FIND_LINKS", "").split(), "/etc/ssl/certs"]
    return (one for one in folders if Path(one).is_dir())


@contextmanager
def _pip_settings() -> Iterator[Path]:
    """This machine's settings for pip, from its files and its environment, as one file."""
    told = run(sys.executable, "-m", "pip", "config", "list")
    lines = [line.partition("=") for line in told.splitlines()]
    # A setting is said as SECTION.NAME='VALUE'; the environment's come last and win.
    chosen = {name.rpartition(".")[2]: value.strip("'\"") for name, _, value in lines}
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(
            "\n".join(["[global]", *(f"{name} = {value}" for name, value in chosen.items())])
        )
        file.flush()
        yield Path(file.name)
