"""Files of one identity, read together while somebody may be replacing them.

All of a volume that a kubelet swaps are read from one generation of it. A folder stands for every
readable file in it. Knows nothing of what is in a file.
"""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar import files

# A folder of certificates is what somebody keeps by hand; all of it is read at each look.
MOST_FILES: Final = 256
MOST_BYTES: Final = 4 * 1024 * 1024

# The link that a kubelet swaps to replace all files of a volume at once (its AtomicWriter).
_KUBELET_LINK: Final = "..data"


class UnreadableFile(RolesAnywhereError):
    """A file of the identity cannot be read."""

    code = "UnreadableFile"


@dataclass(frozen=True, slots=True)
class Place:
    """A path with the word for what is there, which errors say."""

    role: str
    path: Path
    may_be_folder: bool = False


# What is behind each path: one file, or those of a folder.
Contents = Mapping[Path, Mapping[Path, bytes]]


def silent(path: str, seconds: float) -> UnreadableFile:
    """That whoever reads the identity in ``path`` still waits after so many ``seconds``."""
    return UnreadableFile(
        f"the files of the identity in {path} cannot be read: no answer within {seconds:g} seconds",
        hint="check the volume: it hangs, or this machine is short of CPU",
    )


def read_together(places: Sequence[Place]) -> Contents:
    """Each file once, all from the folders that the paths lead to at this moment.

    Raises `UnreadableFile`.
    """
    resolved: dict[Path, Path] = {}
    held: dict[Path, Mapping[Path, bytes]] = {}
    for place in places:
        if place.path in held:
            continue
        try:
            held[place.path] = _read(place, resolved)
        except OSError as problem:
            reason = problem.strerror or type(problem).__name__
            raise UnreadableFile(
                f"the {place.role} {place.path} cannot be read: {reason}",
                hint="check the path, the volume and the file's permissions",
            ) from None
    return held


def _read(place: Place, resolved: dict[Path, Path]) -> Mapping[Path, bytes]:
    if place.may_be_folder and place.path.is_dir():
        return dict(_read_folder(place.path, _generation(place.path, place.path, resolved)))
    base = next(
        (above for above in place.path.parents if (above / _KUBELET_LINK).is_symlink()),
        place.path.parent,
    )
    return {place.path: files.read_regular(_generation(base, place.path, resolved))}


def _read_folder(folder: Path, target: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file that can be read, by its path as users know it. Raises OSError."""
    names = sorted(each.name for each in target.iterdir() if not each.name.startswith("."))
    if len(names) > MOST_FILES:
        raise OSError(0, f"it holds more than {MOST_FILES} files")
    total = 0
    for name in names:
        try:
            content = files.read_regular(target / name)
        except OSError:
            continue  # a folder, a socket, somebody else's key: none of ours
        total += len(content)
        if total > MOST_BYTES:
            raise OSError(0, f"its files hold more than {MOST_BYTES} bytes")
        yield folder / name, content


def _generation(base: Path, path: Path, resolved: dict[Path, Path]) -> Path:
    """``path`` below ``base``, which is resolved once for all that lies below it."""
    if base not in resolved:
        link = base / _KUBELET_LINK
        resolved[base] = _resolved(link if link.is_symlink() else base)
    return resolved[base] / path.relative_to(base)


def _resolved(path: Path) -> Path:
    """Raises OSError alone."""
    try:
        return path.resolve(strict=True)
    except RuntimeError:
        # What Python before 3.13 says of links that go round.
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
