"""Container images without a registry: built here, kept in the cache, brought to a node.

The project's images come from its own Dockerfile, over a base that debootstrap makes. Never pushes
an image anywhere, and pulls none. Whoever builds one raises `BuildFailed` where what it is made of
is at fault; that is no missing tool.
"""

import fcntl
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.harness import archives, authority, building, machine
from tests.e2e.harness.configuration import CTR, PAUSE_IMAGE
from tests.e2e.harness.sandbox import Sandbox
from tests.fakes.pki import Authority
from tests.support.cache import cache_dir

ROOT: Final = Path(__file__).parents[3]
TARGETS: Final = ("operator", "sidecar", "sidecar-pkcs11")
# What decides an image's content besides its base; files that Python makes do not.
SOURCES: Final = ("Dockerfile", "requirements", "sidecar", "operator")

BASE_SUITE: Final = "bookworm"
BASE_PACKAGES: Final = ("ca-certificates", "python3", "python3-venv")

# Of an image whose source has changed, so many older builds stay in the cache.
KEPT: Final = 3


@dataclass(frozen=True, slots=True)
class Image:
    """An image as pods name it, and the archive that it is brought in."""

    name: str
    archive: Path

    @property
    def size(self) -> int:
        """The bytes of its layers, uncompressed, base included."""
        return self.archive.stat().st_size


def pause() -> Image:
    """What holds a pod's namespaces open: one static program. Raises `ToolMissing`."""
    source = Path(__file__).with_name("pause.c")
    archive = _shelf(
        "pause", _digest({"source": source.read_bytes(), "recipe": building.RECIPE.encode()})
    )
    with _made_once(archive) as fresh:
        if fresh:
            program = building.compile_static(source)
            archives.write(fresh, PAUSE_IMAGE, {"pause": program}, entrypoint=["/pause"])
    return Image(PAUSE_IMAGE, archive)


def of_program(name: str, program: Path) -> Image:
    """A program that needs no libraries, alone in an image and its entry point."""
    content = program.read_bytes()
    key = _digest({"program": content})
    reference, archive = f"localhost/{name}:{key}", _shelf(name, key)
    with _made_once(archive) as fresh:
        if fresh:
            archives.write(fresh, reference, {name: content}, entrypoint=[f"/{name}"])
            _forget_older(name)
    return Image(reference, archive)


def trusted() -> Authority:
    """Whose servers are believed in every image, besides those of the usual authorities."""
    return authority.find_or_make(_folder())


def base() -> Image:
    """Debian with Python, as small as debootstrap makes it. Raises `ToolMissing`."""
    authorities = trusted().certificate_pem
    recipe = " ".join([BASE_SUITE, *BASE_PACKAGES, building.RECIPE]).encode()
    key = _digest({"": recipe, "authorities": authorities})
    name = f"localhost/rolesanywhere-base:{key}"
    archive = _shelf("base", key)
    with _made_once(archive) as fresh:
        if fresh:
            building.bootstrap(
                fresh, name, suite=BASE_SUITE, packages=BASE_PACKAGES, authorities=authorities
            )
    return Image(name, archive)


def project(target: str) -> Image:
    """The Dockerfile's ``target`` over `base`. Raises `ToolMissing`."""
    return build(ROOT, name=f"rolesanywhere-{target}", sources=SOURCES, target=target)


def build_all() -> None:
    """Every image that the tier needs. Raises `ToolMissing`."""
    machine.prepare()
    for target in TARGETS:
        project(target)


def build(
    context: Path, *, name: str, sources: Sequence[str] = (".",), target: str = "",
    over: Image | None = None,
) -> Image:  # fmt: skip
    """What the Dockerfile in ``context`` makes of its ``BASE_IMAGE``: `base`, or ``over``.

    Built anew when a file of ``sources`` below ``context`` changes. Raises `ToolMissing`.
    """
    below = over or base()
    content = _content(context, sources)
    key = _digest({**content, "/target": target.encode(), "/base": below.name.encode()})
    reference = f"localhost/{name}:{key}"
    archive = _shelf(name, key)
    with _made_once(archive) as fresh:
        if fresh:
            with _alone("storage"):
                building.build(
                    fresh, reference, context=context, target=target,
                    base=below.name, base_archive=below.archive, storage=_folder() / "storage",
                )  # fmt: skip
            _forget_older(name)
    return Image(reference, archive)


def load(sandbox: Sandbox, image: Image, name: str = "") -> str:
    """Bring an image to the node; its name there, which is ``name`` if one is given.

    Pods name it with a pull policy other than Always.
    """
    building.run(*sandbox.inside([*CTR, "images", "import", image.archive]))
    if name:
        building.run(*sandbox.inside([*CTR, "images", "tag", "--force", image.name, name]))
    return name or image.name


def _content(context: Path, sources: Sequence[str]) -> Mapping[str, bytes]:
    files: dict[str, bytes] = {}
    for source in sources:
        place = context / source
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                files[str(path.relative_to(context))] = path.read_bytes()
    return files


def _digest(content: Mapping[str, bytes]) -> str:
    recipe = hashlib.sha256()
    for name in sorted(content):
        recipe.update(f"{name}\0{len(content[name])}\0".encode() + content[name])
    return recipe.hexdigest()[:12]


def _folder() -> Path:
    folder = cache_dir() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _shelf(name: str, key: str) -> Path:
    return _folder() / f"{name}-{key}.tar"


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Let one run at a time into the block. Two of buildah in one storage unmount each other's."""
    with (_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _made_once(archive: Path) -> Iterator[Path | None]:
    """Where to write ``archive`` if it is still to be made; two runs at once make it once."""
    with _alone(archive.stem):
        if archive.exists():
            yield None
            return
        with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
            fresh = Path(scratch) / archive.name
            yield fresh
            fresh.replace(archive)


def _forget_older(name: str) -> None:
    """Delete all but the newest builds of an image."""
    key = "[0-9a-f]" * 12
    made = sorted(_folder().glob(f"{name}-{key}.tar"), key=lambda path: path.stat().st_mtime)
    for archive in made[: -KEPT + 1]:
        for path in (archive, archive.with_suffix(".lock")):
            path.unlink(missing_ok=True)
