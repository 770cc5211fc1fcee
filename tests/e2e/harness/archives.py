"""Image archives, as ``docker save`` writes them, from files or from a folder's tree.

Pure but for the file that is written.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

_PROCESSORS: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def write(
    archive: Path, name: str, programs: Mapping[str, bytes], *, entrypoint: Sequence[str]
) -> None:
    """An image ``name`` of one layer that holds ``programs``, run by nobody in particular."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for path, content in programs.items():
            _add(tar, path, content, mode=0o755)
    settings = {"Entrypoint": list(entrypoint), "User": "65535:65535"}
    _write(archive, name, layer, settings)


def write_tree(archive: Path, name: str, root: Path) -> None:
    """An image ``name`` of one layer that holds all that is below ``root``, owners and all."""
    with archive.with_suffix(".layer").open("w+b") as layer:
        with tarfile.open(fileobj=layer, mode="w") as tar:
            tar.add(root, arcname=".")
        _write(archive, name, layer, {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]})
    archive.with_suffix(".layer").unlink()


def _write(archive: Path, name: str, layer: IO[bytes], settings: Mapping[str, object]) -> None:
    layer.seek(0)
    digest = hashlib.file_digest(layer, "sha256").hexdigest()  # type: ignore[arg-type]  # any binary file will do
    config = {
        "architecture": _PROCESSORS[platform.machine()],
        "os": "linux",
        "config": settings,
        # A line for each layer, which buildah counts.
        "history": [{"created_by": "tests"}],
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, mode="w") as tar:
        _add(tar, "config.json", json.dumps(config).encode())
        _add(tar, "manifest.json", json.dumps(manifest).encode())
        entry = tarfile.TarInfo("layer.tar")
        entry.size = layer.seek(0, io.SEEK_END)
        layer.seek(0)
        tar.addfile(entry, layer)


def _add(tar: tarfile.TarFile, path: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
