"""Programs that the guides name and that cannot run here, as far as a reader can tell.

``docker build`` hands over what the project's Dockerfile makes of the same target by another
program, and ``docker push`` brings it to the node. All else is the real thing under its name.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.e2e.harness import images
from tests.e2e.harness.sandbox import Sandbox

# What the guide builds.
TARGETS: Final = ("operator", "sidecar")
ROOT: Final = Path(__file__).parents[2]
_BUILD: Final = re.compile(r"build --target (?P<target>\S+) --tag (?P<tag>\S+) \.")
_PUSH: Final = re.compile(r"push (?P<tag>\S+)")


def lay_out(folder: Path, cluster: str, programs: Mapping[str, Path]) -> Path:
    """A folder for the PATH, with ``programs`` by their names and the stand-ins."""
    folder.mkdir()
    for name, program in programs.items():
        (folder / name).symlink_to(program)
    docker = folder / "docker"
    docker.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"from tests.e2e import standins\nstandins.docker({cluster!r}, sys.argv[1:], __file__)\n"
    )
    docker.chmod(0o755)
    return folder


def docker(cluster: str, arguments: Sequence[str], program: str) -> None:
    """What the guides ask of docker; anything else ends the process with a sentence."""
    words = " ".join(arguments)
    built = Path(program).with_name("built")
    built.mkdir(exist_ok=True)
    if asked := _BUILD.fullmatch(words):
        if not Path("Dockerfile").exists():
            sys.exit("docker: no Dockerfile here")
        images.project(asked["target"])
        (built / asked["tag"].replace("/", "%")).write_text(asked["target"])
    elif asked := _PUSH.fullmatch(words):
        kept = built / asked["tag"].replace("/", "%")
        if not kept.exists():
            sys.exit(f"docker: no image {asked['tag']}")
        images.load(Sandbox(cluster), images.project(kept.read_text()), asked["tag"])
    else:
        sys.exit(f"docker: nothing here stands in for {words!r}")
