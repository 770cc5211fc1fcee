"""What is in the project's images, as a container of each sees it, and how large they are."""

import json
from typing import Any, Final

import pytest

from tests.e2e import pods
from tests.e2e.harness import images
from tests.e2e.harness.cluster import Cluster
from tests.e2e.notes import Notes
from tests.support.tools import build_or_skip
from tests.support.waiting import eventually

# What a container can run, import and load as a module for tokens.
LOOK: Final = """
import glob, json, os, pkgutil
folders = [one for one in os.environ["PATH"].split(":") if os.path.isdir(one)]
print(json.dumps({
    "user": os.getuid(),
    "programs": sorted({one for folder in folders for one in os.listdir(folder)}),
    "packages": sorted({module.name for module in pkgutil.iter_modules()}),
    "tokens": sorted(glob.glob("/usr/lib/pkcs11/*") + glob.glob("/usr/lib/*/pkcs11/*")),
    "writable": [path for path in ("/app", "/etc", "/usr") if os.access(path, os.W_OK)],
}))
"""
COMPILERS: Final = {"as", "c++", "cc", "clang", "cpp", "g++", "gcc", "go", "ld", "make", "rustc"}
INSTALLERS: Final = {"ensurepip", "pip", "setuptools", "wheel"}
OPERATORS: Final = {"kopf", "kubernetes", "httptools", "rolesanywhere_operator"}
SDKS: Final = {"boto3", "botocore"}
# What each may have beside the base, so that none grows unseen.
MOST_BYTES: Final = {"operator": 100e6, "sidecar": 30e6, "sidecar-pkcs11": 60e6}
TOKENS: Final = {"libtpm2_pkcs11.so", "opensc-pkcs11.so", "p11-kit-client.so"}


@pytest.fixture(params=images.TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    """One of the images."""
    return str(request.param)


def test_an_image_holds_its_program_and_nothing_that_makes_others(
    cluster: Cluster, namespace: str, target: str, notes: Notes
) -> None:
    image = build_or_skip(lambda: images.project(target))
    name = cluster.load(image)
    notes.append(f"{image.size / 1e6:6.0f} MB image {target}, of which {_base()} are the base")
    held = look(cluster, namespace, name)

    assert image.size - images.base().size < MOST_BYTES[target]
    assert held["user"] == 65532
    assert held["writable"] == []
    assert COMPILERS & set(held["programs"]) == set()
    assert not [one for one in held["programs"] if one.startswith("pip")]
    packages = set(held["packages"])
    assert INSTALLERS & packages == SDKS & packages == set()
    own = "operator" if target == "operator" else "sidecar"
    assert {"rolesanywhere_contract", f"rolesanywhere_{own}"} <= packages
    if own == "operator":
        assert packages >= OPERATORS
        assert "rolesanywhere_sidecar" not in packages
    else:
        assert OPERATORS & packages == set()
    modules = {path.rpartition("/")[2] for path in held["tokens"]}
    assert ("pkcs11" in packages, modules >= TOKENS) == (target == "sidecar-pkcs11",) * 2
    assert bool(modules) == (target == "sidecar-pkcs11")


def look(cluster: Cluster, namespace: str, image: str) -> dict[str, Any]:
    """What a container of an image has."""
    pod = pods.pod("look", pods.python("look", image, LOOK), restartPolicy="Never")
    here = f"--namespace={namespace}"
    cluster.apply(json.dumps(pod), namespace=namespace)
    eventually(
        "the container has looked",
        lambda: cluster.kubectl.get("pod/look", here)["status"]["phase"] == "Succeeded",
        within=60,
    )
    found: dict[str, Any] = json.loads(cluster.kubectl("logs", "look", here))
    return found


def _base() -> str:
    return f"{images.base().size / 1e6:.0f} MB"
