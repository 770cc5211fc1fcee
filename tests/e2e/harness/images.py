"""Container images without a registry: made here, kept in the cache, brought to a cluster's node.

Never pushes or pulls one.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from tests.e2e.harness.configuration import CONTAINERD_SOCKET, PAUSE_IMAGE
from tests.e2e.harness.sandbox import Sandbox
from tests.support.cache import cache_dir
from tests.support.tools import ToolMissing

PAUSE_SOURCE: Final = Path(__file__).parent / "pause.c"


def pause() -> Path:
    """The image that holds a pod's namespaces open: one static program. Raises `ToolMissing`."""
    recipe = hashlib.sha256(PAUSE_SOURCE.read_bytes() + PAUSE_IMAGE.encode()).hexdigest()[:12]
    archive = _folder() / f"pause-{recipe}.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=_folder()) as scratch:
            program = Path(scratch) / "pause"
            _run("gcc", "-static", "-Os", "-o", program, PAUSE_SOURCE)
            fresh = Path(scratch) / "image.tar"
            fresh.write_bytes(_archive(PAUSE_IMAGE, {"pause": program.read_bytes()}, ["/pause"]))
            fresh.replace(archive)
    return archive


def load(sandbox: Sandbox, archive: Path) -> None:
    """Bring an image to the node, whose pods then name it with a pull policy other than Always."""
    _run(
        *sandbox.inside(
            ["ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io",
             "images", "import", archive]
        )
    )  # fmt: skip


def _folder() -> Path:
    folder = cache_dir() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _archive(name: str, files: dict[str, bytes], entrypoint: list[str]) -> bytes:
    """An image of one layer, as ``docker save`` writes it."""
    layer = _tar(files, mode=0o755)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "config.json": json.dumps(config).encode(),
            "layer.tar": layer,
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


def _tar(files: dict[str, bytes], *, mode: int = 0o644) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def _run(*command: str | Path) -> str:
    """What it says. Raises `ToolMissing` where it cannot be run, or fails."""
    if shutil.which(command[0]) is None:
        raise ToolMissing(f"{command[0]} is not installed, and images are made with it")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = " / ".join(done.stderr.strip().splitlines()[-4:])
        raise ToolMissing(f"{' '.join(map(str, command[:4]))} … failed: {last}")
    return done.stdout
